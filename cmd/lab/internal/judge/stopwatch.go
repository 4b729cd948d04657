package judge

import (
	"time"

	"golang.org/x/sys/unix"
)

// stopwatch adds up the processor time of a thread: what others take of a shared
// machine does not count. Its goroutine must stay on the thread.
type stopwatch struct{ spent, begun time.Duration }

func (s *stopwatch) start() { s.begun = threadTime() }
func (s *stopwatch) stop()  { s.spent += threadTime() - s.begun }

// threadTime is what the thread has taken of a processor; see
// clock_gettime(2), CLOCK_THREAD_CPUTIME_ID.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0 // no such clock: nothing is measured
	}
	return time.Duration(t.Nano())
}
