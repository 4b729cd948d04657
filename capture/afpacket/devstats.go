package afpacket

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"sync"
)

// devStats reads what interfaces themselves count as lost, from
// /proc/net/dev, whose column "drop" is rx_dropped + rx_missed_errors
// (net/core/net-procfs.c). The file stays open, so that it is that of the
// network namespace in which the capture was opened.
//
// The kernel counts among them frames that it had shown to the rings and then
// found no protocol for, such as those with two VLAN tags
// (__netif_receive_skb_core in net/core/dev.c). So this is an upper bound.
type devStats struct {
	mu    sync.Mutex
	file  *os.File          // nil if there is no procfs, and after close
	start map[string]uint64 // by interface
	last  map[string]uint64 // since start
}

// newDevStats counts from now on. Without procfs it counts nothing.
func newDevStats(names []string) *devStats {
	d := &devStats{start: map[string]uint64{}, last: map[string]uint64{}}
	file, err := os.Open("/proc/thread-self/net/dev")
	if err != nil {
		return d
	}
	d.file = file
	content := d.read()
	for _, name := range names {
		d.start[name], _ = received(content, name)
	}
	return d
}

func (d *devStats) read() []byte {
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return nil
	}
	content, err := io.ReadAll(d.file)
	if err != nil {
		return nil
	}
	return content
}

// drops returns by interface what was lost since the start. An interface that
// is gone keeps its last value.
func (d *devStats) drops() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil {
		content := d.read()
		for name, start := range d.start {
			if n, found := received(content, name); found && n >= start {
				d.last[name] = max(d.last[name], n-start)
			}
		}
	}
	drops := make(map[string]uint64, len(d.last))
	for name, n := range d.last {
		drops[name] = n
	}
	return drops
}

func (d *devStats) close() error {
	d.drops()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	file := d.file
	d.file = nil
	return file.Close()
}

// received finds the received frames that were dropped in a line such as
//
//	eth0: 1296 16 0 0 0 0 0 0 1296 16 0 0 0 0 0 0
//
// where the fourth number is it.
func received(content []byte, name string) (dropped uint64, found bool) {
	for line := range bytes.Lines(content) {
		label, numbers, _ := bytes.Cut(line, []byte(":"))
		if string(bytes.TrimSpace(label)) != name {
			continue
		}
		fields := bytes.Fields(numbers)
		if len(fields) < 4 {
			return 0, false
		}
		n, err := strconv.ParseUint(string(fields[3]), 10, 64)
		return n, err == nil
	}
	return 0, false
}
