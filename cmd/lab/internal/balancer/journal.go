package balancer

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"offpath/cmd/lab/internal/internet"
	"offpath/cmd/lab/internal/netns"
)

// Entry is one request as the load balancer saw it.
type Entry struct {
	Time   time.Time // when its rules were evaluated, ms
	Client netip.Addr
	Status int
}

// Refused reports whether the load balancer refused it: the bank answers
// neither status.
func (e Entry) Refused() bool { return e.Status == 403 || e.Status == 429 }

// Counts are requests and those of them that were refused.
type Counts struct{ Requests, Refused int64 }

// Journal is the load balancer's log. It keeps every request of an attacker
// and counts those of all others. It may be read at any time from any
// goroutine.
type Journal struct {
	source io.ReadCloser // a line at a time, or several
	done   chan struct{}
	entry  func(line string) (Entry, error) // reads a line

	mu        sync.Mutex
	attack    []Entry
	customers Counts
	refusals  map[netip.Addr]int64 // of customers
	first     time.Time            // first request of an attacker
	refused   time.Time            // first refusal of an attacker
	malformed int
}

// datagrams makes the journal's socket inside a namespace whose datagram
// queues are long: with the kernel's ten, load balancers drop lines in bursts.
func datagrams(namespace, path string) (io.ReadCloser, error) {
	space, err := netns.Open(namespace, 1)
	if err != nil {
		return nil, err
	}
	defer space.Close()
	var socket *net.UnixConn
	err = space.Sysctl("unix/max_dgram_qlen", "4096")
	if err == nil {
		err = space.Do(func() (err error) {
			socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return lineEnds{socket}, nil
}

// lineEnds is a socket of which each datagram is a line.
type lineEnds struct{ *net.UnixConn }

func (l lineEnds) Read(line []byte) (int, error) {
	n, err := l.UnixConn.Read(line[:len(line)-1])
	if err != nil {
		return n, err
	}
	if n == 0 || line[n-1] != '\n' {
		line[n] = '\n'
		n++
	}
	return n, nil
}

// pipe makes a named pipe for a load balancer that logs to a file. While it is full the
// load balancer's writer waits.
func pipe(path string) (io.ReadCloser, error) {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, err
	}
	// For writing as well: else it ends whenever no one else has it open.
	return os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
}

func newJournal(source io.ReadCloser, entry func(line string) (Entry, error)) *Journal {
	j := &Journal{source: source, entry: entry, done: make(chan struct{}), refusals: map[netip.Addr]int64{}}
	go j.read()
	return j
}

func (j *Journal) read() {
	defer close(j.done)
	lines := bufio.NewReaderSize(j.source, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		j.enter(strings.TrimSuffix(line, "\n"))
	}
}

func (j *Journal) enter(line string) {
	e, err := j.entry(line)
	e.Client = e.Client.Unmap()

	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err != nil:
		j.malformed++
		return
	case internet.Attacker(e.Client):
		j.attack = append(j.attack, e)
		if j.first.IsZero() || e.Time.Before(j.first) {
			j.first = e.Time
		}
		if e.Refused() && (j.refused.IsZero() || e.Time.Before(j.refused)) {
			j.refused = e.Time
		}
		return
	}
	j.customers.Requests++
	if e.Refused() {
		j.customers.Refused++
		j.refusals[e.Client]++
	}
}

// Attack returns every request of the attackers so far, in no strict order.
func (j *Journal) Attack() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Entry(nil), j.attack...)
}

// First returns when the first request of an attacker came and when the first
// was refused; zero: not yet.
func (j *Journal) First() (request, refusal time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first, j.refused
}

// Customers counts the requests of everybody but the attackers and the one
// client given.
func (j *Journal) Customers(except netip.Addr) Counts {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.customers
	c.Refused -= j.refusals[except]
	return c
}

// Malformed is the number of lines that were not understood: requests that
// were none, which no client here sends.
func (j *Journal) Malformed() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.malformed
}

func (j *Journal) close() {
	j.source.Close()
	<-j.done
}
