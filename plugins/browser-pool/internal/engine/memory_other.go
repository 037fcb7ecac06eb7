//go:build !linux

package engine

// Sample returns nothing: memory is not measured here.
func Sample(map[int]bool) map[int][]Process { return nil }

// Total is not known here.
func Total() uint64 { return 0 }
