package main

import (
	"path"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Bounds of a path in bytes, those of Linux, so that what fits here fits on disk.
const (
	maxPart = 255
	maxPath = 4096
)

// clean checks a path and returns it without "." parts; "." is the root.
func clean(p string) (string, error) {
	switch {
	case len(p) > maxPath:
		return "", status.Errorf(codes.InvalidArgument, "path %.100q has %d bytes, at most %d are allowed", p, len(p), maxPath)
	case strings.HasPrefix(p, "/"):
		return "", status.Errorf(codes.InvalidArgument, "path %.100q is absolute; paths are relative to the root", p)
	case strings.IndexByte(p, 0) >= 0:
		return "", status.Errorf(codes.InvalidArgument, "path %.100q has a NUL byte", p)
	case p == "":
		return ".", nil
	}
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "":
			return "", status.Errorf(codes.InvalidArgument, "path %.100q has an empty part; one \"/\" stands between two parts, and none at the end", p)
		case part == "..":
			return "", status.Errorf(codes.InvalidArgument, "path %.100q has a \"..\" part; a path names what it means from the root downwards", p)
		case len(part) > maxPart:
			return "", status.Errorf(codes.InvalidArgument, "path %.100q has a part of %d bytes, at most %d are allowed", p, len(part), maxPart)
		}
	}
	return path.Clean(p), nil
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// isWithin reports whether a clean path is dir or below it.
func isWithin(dir, p string) bool {
	return dir == "." || p == dir || strings.HasPrefix(p, dir+"/")
}

// relative is a path as it is seen from a directory that it is below of.
func relative(dir, p string) string {
	if dir == "." {
		return p
	}
	return strings.TrimPrefix(p, dir+"/")
}
