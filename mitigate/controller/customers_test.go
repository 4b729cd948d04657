package controller_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"offpath/mitigate/haproxy"
	"offpath/mitigate/internal/haproxytest"
)

// customersOf, in the environment, has the test binary be the customers of a load
// balancer, and what it protects, instead of running tests.
const customersOf = "OFFPATH_TEST_CUSTOMERS_OF"

func TestMain(m *testing.M) {
	if url := os.Getenv(customersOf); url != "" {
		serveCustomers(url)
		return
	}
	os.Exit(m.Run())
}

// serveCustomers says the address of the backend, then asks the URL 500 times a second at
// most, and says for each line that it reads what 99 of 100 answers since the line before
// took at most, in nanoseconds.
func serveCustomers(url string) {
	must := func(err error) {
		if err != nil {
			os.Exit(1)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }))
	fmt.Println(listener.Addr())

	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(customer)}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	var mu sync.Mutex
	var took []time.Duration
	lines := bufio.NewScanner(os.Stdin)
	for begun := false; lines.Scan(); begun = true {
		mu.Lock()
		if len(took) > 0 {
			fmt.Println(int64(percentile(took, 0.99)))
		} else {
			fmt.Println(0)
		}
		took = took[:0]
		mu.Unlock()
		if begun {
			continue
		}
		go func() {
			for {
				began := time.Now()
				response, err := client.Get(url)
				must(err)
				_, err = io.Copy(io.Discard, response.Body)
				must(err)
				response.Body.Close()
				if response.StatusCode != 200 {
					must(fmt.Errorf("a customer is answered %s", response.Status))
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				time.Sleep(2 * time.Millisecond)
			}
		}()
	}
}

// ahead has a process run before all others that are not ahead (SCHED_FIFO, sched(7)), as if
// these had other processors: equals may have it wait for a tick of the scheduler.
func ahead(b *testing.B, pid, priority int) {
	b.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	require.NoError(b, err)
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		require.NoError(b, err)
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: uint32(priority)}
		require.NoError(b, unix.SchedSetAttr(id, &attr, 0), "a real-time priority needs CAP_SYS_NICE")
	}
}

// startWithCustomers starts an HAProxy whose customers and backend are a process of their
// own, so that what they wait for is HAProxy and not the controller; p99 is what 99 of
// 100 answers took at most since it was last called. With a priority the customers are ahead.
func startWithCustomers(b *testing.B, setup haproxy.Setup, priority int) (s *haproxytest.Server, p99 func() time.Duration) {
	b.Helper()
	s = haproxytest.New(b, setup)
	program, err := os.Executable()
	require.NoError(b, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), customersOf+"="+s.URL+"/")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	lines := bufio.NewReader(out)
	line := func() string {
		text, err := lines.ReadString('\n')
		require.NoError(b, err)
		return strings.TrimSpace(text)
	}
	s.Configure(strings.ReplaceAll(s.Config(), s.Backend().Address, line()))
	s.Up()
	p99 = func() time.Duration {
		fmt.Fprintln(in)
		d, err := time.ParseDuration(line() + "ns")
		require.NoError(b, err)
		return d
	}
	if priority > 0 {
		ahead(b, cmd.Process.Pid, priority)
	}
	p99() // from now on they ask
	return s, p99
}
