package files

import (
	"strconv"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// entryOf is what callers see of what is at a path.
func entryOf(path string, info jail.Info) *filev1.Entry {
	e := &filev1.Entry{
		Path:     shown(path),
		Type:     typeOf(info),
		Mode:     info.Permissions(),
		Modified: timestamppb.New(time.Unix(0, info.Modified)),
	}
	if info.IsFile() {
		e.Size = uint64(info.Size) //nolint:gosec // never negative
		e.Etag = etagOf(info)
	}
	return e
}

// shown is a name as a message can carry it. Names that are not UTF-8 get U+FFFD,
// and cannot be asked for.
func shown(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

func typeOf(info jail.Info) filev1.Type {
	switch info.Type() {
	case unix.S_IFREG:
		return filev1.Type_FILE
	case unix.S_IFDIR:
		return filev1.Type_DIRECTORY
	case unix.S_IFLNK:
		return filev1.Type_SYMLINK
	}
	return filev1.Type_OTHER
}

// etagOf is another one for another content: every write makes a new file with
// its own inode and time, and whoever changes a file in place changes its times.
// The numbers are mixed so that nobody reads something into them.
func etagOf(info jail.Info) string {
	h := uint64(0)
	for _, n := range [...]uint64{info.Device, info.Inode, uint64(info.Size), uint64(info.Modified), uint64(info.Changed)} { //nolint:gosec // bits, not numbers
		h = mix(h ^ n)
	}
	return strconv.FormatUint(h, 36)
}

// mix spreads a number over all bits and is its own kind of one-to-one; the steps
// are those of the 64-bit finalizer of MurmurHash3, with a constant for zero.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
