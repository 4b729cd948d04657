package nginxfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// What nginx names its processes (src/os/unix/ngx_process_cycle.c). A worker that is to end
// takes another name before it stops to accept connections.
const (
	masterTitle = "nginx: master process"
	workerTitle = "nginx: worker process"
)

// maxProc bounds what is read of a process, octets.
const maxProc = 64 << 10

// master is one life of nginx.
type master struct {
	pid   int
	start string // clock ticks since the boot of the host
}

func (m master) String() string { return fmt.Sprintf("%d/%s", m.pid, m.start) }

// readBounded reads a small file.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProc))
}

// findMaster reads the pid file, and makes sure that the process is an nginx's master: a
// pid file that was left over may name any.
func (t *Target) findMaster() (master, error) {
	path := t.options.PIDFile
	text, err := readBounded(path)
	if err != nil {
		return master{}, fmt.Errorf("find nginx: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 1 {
		return master{}, fmt.Errorf("find nginx: %s holds no process id", path)
	}
	title, err := titleOf(pid)
	if err != nil || !strings.HasPrefix(title, masterTitle) {
		return master{}, fmt.Errorf("find nginx: the process %d of %s is no master of nginx: does nginx run?", pid, path)
	}
	stat, err := statOf(pid)
	if err != nil {
		return master{}, fmt.Errorf("find nginx: %w", err)
	}
	return master{pid: pid, start: stat.start}, nil
}

// titleOf is what a process calls itself.
func titleOf(pid int) (string, error) {
	text, err := readBounded(fmt.Sprintf("/proc/%d/cmdline", pid))
	title, _, _ := bytes.Cut(text, []byte{0})
	return strings.TrimRight(string(title), " "), err
}

// stat is what /proc/PID/stat says.
type stat struct {
	parent int
	start  string
}

func statOf(pid int) (stat, error) {
	text, err := readBounded(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	s, ok := parseStat(text)
	if !ok {
		return stat{}, fmt.Errorf("/proc/%d/stat is not as proc(5) says", pid)
	}
	return s, nil
}

// parseStat reads fields 4 and 22 of proc(5). The second is a name in parentheses, which
// may itself hold some.
func parseStat(text []byte) (s stat, ok bool) {
	const parent, start = 4 - 3, 22 - 3 // counted from the third
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= start {
		return s, false
	}
	s.start = string(fields[start])
	var err error
	s.parent, err = strconv.Atoi(string(fields[parent]))
	return s, err == nil
}

// workers are the workers of a master that accept connections.
func (m master) workers() (map[int]bool, error) {
	text, err := readBounded(fmt.Sprintf("/proc/%d/task/%d/children", m.pid, m.pid))
	if err != nil {
		return nil, fmt.Errorf("list nginx's workers: %w", err)
	}
	workers := make(map[int]bool)
	for word := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("list nginx's workers: %w", err)
		}
		if title, err := titleOf(pid); err == nil && title == workerTitle {
			workers[pid] = true
		}
	}
	return workers, nil
}

// signal sends a signal to a master; 0 tries whether one may be sent.
func (m master) signal(what syscall.Signal) error {
	// The handle is that of one life (pidfd_open(2)), which is looked at after it is held.
	p, err := os.FindProcess(m.pid)
	if err != nil {
		return fmt.Errorf("signal nginx: %w", err)
	}
	defer p.Release()
	if now, err := statOf(m.pid); err != nil || now.start != m.start {
		return errors.New("signal nginx: its master has just ended")
	}
	err = p.Signal(what)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("offpath has to run as the user of nginx's master: %w", err)
	}
	if err != nil {
		return fmt.Errorf("signal nginx: %w", err)
	}
	return nil
}
