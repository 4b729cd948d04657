package judge

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"offpath/cmd/lab/internal/traffic"
	"offpath/detect"
	"offpath/reassembly"
)

// Cost is measured over costOf transactions at most. They are made costBatch at a time,
// so that what makes them does not keep emptying the processor's caches, which a detector
// has for itself where it works.
const (
	costOf    = 1 << 20
	costBatch = 1 << 13
)

// Cost is what a contender takes of a processor for each transaction of the traffic, in
// nanoseconds: of the thread that observes, so what others take of a shared machine does
// not count.
func Cost(source Source, one Contender) (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begun := threadTime()
	detector, err := one.Build(forgetful{})
	spent := threadTime() - begun
	if err != nil {
		return 0, err
	}
	txs, truths := make([]reassembly.Transaction, costBatch), make([]traffic.Truth, costBatch)
	copied := new(reassembly.Transaction)
	seen, octets := 0, 0
	for more := true; more && seen < costOf; {
		n := 0
		for n < len(txs) {
			if truths[n], more = source.Next(&txs[n]); !more {
				break
			}
			txs[n].Annotation = reassembly.Annotation{}
			n++
		}
		for part := range splits(n) {
			for i := part[0]; i < part[1]; i++ {
				octets += touch(copied, &txs[i])
			}
			begun = threadTime()
			for i := part[0]; i < part[1]; i++ {
				detector.Observe(&txs[i], truths[i])
			}
			spent += threadTime() - begun
		}
		seen += n
	}
	runtime.KeepAlive(octets)
	runtime.KeepAlive(copied)
	return float64(spent.Nanoseconds()) / float64(max(seen, 1)), nil
}

// splits are the numbers below n in parts of 64, which fit the nearest cache.
func splits(n int) func(yield func([2]int) bool) {
	const size = 64
	return func(yield func([2]int) bool) {
		for i := 0; i < n && yield([2]int{i, min(i+size, n)}); i += size {
		}
	}
}

// touch reads a transaction whole, as whoever hands it over has just written it.
func touch(copied, tx *reassembly.Transaction) (n int) {
	*copied = *tx
	for _, s := range [...]string{
		tx.ID, tx.Fingerprint, tx.JA4, tx.Operation, tx.Request.Method, tx.Request.Domain, tx.Request.Path, tx.Request.UserAgent,
		tx.Auth.UserHash, tx.Auth.PasswordHash,
	} {
		for i := 0; i < len(s); i += 64 {
			n += int(s[i])
		}
	}
	return n
}

// forgetful is a Sink.
type forgetful struct{}

func (forgetful) Finding(*detect.Finding) {}
func (forgetful) Verdict(*detect.Verdict) {}

// threadTime is what the thread has taken of a processor; see
// clock_gettime(2), CLOCK_THREAD_CPUTIME_ID.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0 // no such clock: nothing is measured
	}
	return time.Duration(t.Nano())
}
