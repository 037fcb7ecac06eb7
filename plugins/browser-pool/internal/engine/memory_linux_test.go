package engine

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

func TestMemoryIsSeenToGrowAndHasItsPartOfWhatIsShared(t *testing.T) {
	s := new(Sampler)
	sample := func() uint64 {
		t.Helper()
		group := syscall.Getpgrp()
		for _, p := range s.Sample(map[int]bool{group: true})[group] {
			if p.PID == os.Getpid() {
				return p.Memory
			}
		}
		t.Fatal("this process is not there")
		return 0
	}
	first := sample()
	const grown = 64 << 20
	block := make([]byte, grown)
	for i := 0; i < len(block); i += os.Getpagesize() {
		block[i] = 1
	}
	second := sample()
	if second < first+grown*3/4 {
		t.Errorf("after %d bytes more: got %d bytes, before %d", grown, second, first)
	}
	if all := proportional("/proc/self"); second < all*9/10 || second > all*11/10 {
		t.Errorf("got %d bytes, the proportional set size is %d", second, all)
	}
	runtime.KeepAlive(block)
}
