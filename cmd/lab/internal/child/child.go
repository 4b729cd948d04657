// Package child starts the programs of the laboratory and ends them.
//
// Every child leads a process group of its own, so that Ctrl-C on a terminal
// does not reach it and so that its own children end with it; and it dies with
// the laboratory (PR_SET_PDEATHSIG). Its output goes to a file of which a
// failure shows the end.
//
// A [Nursery] is safe for concurrent use. Its one goroutine owns the thread
// that forks: the kernel ties the death signal to the parent's thread, not to
// its process.
package child

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Name      string // of the child in messages and of its log file
	Namespace string // network namespace to start it in; "" for the laboratory's own
	Path      string
	Args      []string
	Dir       string // working directory; "" for the nursery's folder
	Finite    bool   // its end with status 0 is no failure of the run
}

// Child is a started program.
type Child struct {
	Name string

	cmd      *exec.Cmd
	log      string
	done     chan struct{}
	err      error // valid once done is closed
	stopping chan struct{}
	once     sync.Once
}

// Nursery starts children and notices when one ends unasked.
type Nursery struct {
	dir    string
	starts chan func()
	failed chan error
	quit   chan struct{}

	mu       sync.Mutex
	children []*Child
}

// Open makes a nursery whose children write their logs into dir.
func Open(dir string) *Nursery {
	n := &Nursery{dir: dir, starts: make(chan func()), failed: make(chan error, 16), quit: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			select {
			case start := <-n.starts:
				start()
			case <-n.quit:
				return
			}
		}
	}()
	return n
}

// Failed delivers an error for each child that ended unasked.
func (n *Nursery) Failed() <-chan error { return n.failed }

// Start starts a child.
func (n *Nursery) Start(s Spec) (*Child, error) {
	name, args := s.Path, s.Args
	if s.Namespace != "" {
		name, args = "ip", append([]string{"netns", "exec", s.Namespace, s.Path}, s.Args...)
	}
	c := &Child{
		Name: s.Name, cmd: exec.Command(name, args...), log: filepath.Join(n.dir, s.Name+".log"),
		done: make(chan struct{}), stopping: make(chan struct{}),
	}
	out, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.Dir = s.Dir
	if c.cmd.Dir == "" {
		c.cmd.Dir = n.dir
	}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	n.starts <- func() { started <- c.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	n.mu.Lock()
	n.children = append(n.children, c)
	n.mu.Unlock()
	go n.watch(c, s.Finite)
	return c, nil
}

func (n *Nursery) watch(c *Child, finite bool) {
	c.err = c.cmd.Wait()
	close(c.done)
	select {
	case <-c.stopping:
		return
	default:
	}
	if finite && c.err == nil {
		return
	}
	err := c.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	select {
	case n.failed <- fmt.Errorf("%s ended unasked: %w%s", c.Name, err, c.Tail()):
	default: // one failure is enough to end the run
	}
}

// Close kills the children that still live and ends the nursery.
func (n *Nursery) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.children {
		c.Stop(syscall.SIGKILL, 0)
	}
	close(n.quit)
}

// Done is closed when the child has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Stop asks the child's process group to end and kills it if it has not done
// so in time. It returns the child's own error; nothing if it was killed by
// the signal given.
func (c *Child) Stop(sig syscall.Signal, patience time.Duration) error {
	c.once.Do(func() { close(c.stopping) })
	c.signal(sig)
	select {
	case <-c.done:
	case <-time.After(patience):
		c.signal(syscall.SIGKILL)
		<-c.done
		if sig != syscall.SIGKILL {
			return fmt.Errorf("%s did not end within %v of %v%s", c.Name, patience, sig, c.Tail())
		}
	}
	var exit *exec.ExitError
	if errors.As(c.err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == sig {
			return nil
		}
	}
	if c.err != nil {
		return fmt.Errorf("%s: %w%s", c.Name, c.err, c.Tail())
	}
	return nil
}

// signal reaches the whole group, which may outlive its leader.
func (c *Child) signal(sig syscall.Signal) { _ = syscall.Kill(-c.cmd.Process.Pid, sig) }

// Log returns all that the child has written so far.
func (c *Child) Log() []byte {
	b, _ := os.ReadFile(c.log)
	return b
}

// Tail returns the last lines that the child wrote, indented, on lines of
// their own; "" if there are none.
func (c *Child) Tail() string {
	lines := bytes.Split(bytes.TrimSpace(c.Log()), []byte("\n"))
	if len(lines) > 15 {
		lines = lines[len(lines)-15:]
	}
	var b bytes.Buffer
	for _, line := range lines {
		if len(line) > 0 {
			fmt.Fprintf(&b, "\n    %.400s", line)
		}
	}
	return b.String()
}
