package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is how much processor time the processes have used so far. It reports
// false when one of them cannot be asked.
//
// Linux has a clock of each process, in nanoseconds, where /proc/<pid>/stat
// counts in hundredths of a second; clock_getcpuclockid(3) makes its number.
func cpuTime(pids []int) (time.Duration, bool) {
	const scheduled = 2 // CPUCLOCK_SCHED: user and system time of all threads
	var total time.Duration
	for _, pid := range pids {
		var t unix.Timespec
		clock := ^int32(pid)<<3 | scheduled //nolint:gosec // G115: a pid has 22 bits
		if err := unix.ClockGettime(clock, &t); err != nil {
			return 0, false
		}
		total += time.Duration(t.Nano())
	}
	return total, true
}
