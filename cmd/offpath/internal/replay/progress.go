package replay

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// progressEvery is the least time between two lines of progress.
const progressEvery = 100 * time.Millisecond

// progress shows on a terminal how far the replay is. One goroutine calls
// show, another one count.
type progress struct {
	w            io.Writer // nil: nothing is shown
	transactions atomic.Int64
	last         time.Time
	shown        bool
}

func newProgress(w io.Writer) *progress { return &progress{w: w} }

func (p *progress) count(n int) { p.transactions.Add(int64(n)) }

// show replaces the line of progress: octets of input read, and in all (0: not
// known).
func (p *progress) show(done, total int64) {
	if p.w == nil || time.Since(p.last) < progressEvery {
		return
	}
	p.last, p.shown = time.Now(), true
	share := ""
	if total > 0 {
		share = fmt.Sprintf(" of %s (%d %%)", size(total), 100*min(done, total)/total)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s%s, %s transactions", size(done), share, number(uint64(p.transactions.Load())))
}

// clear removes the line.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

func size(n int64) string {
	const kib = 1 << 10
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	x, i := float64(n), 0
	for x >= kib && i < len(units)-1 {
		x /= kib
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}
