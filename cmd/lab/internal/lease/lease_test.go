package lease

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/cmd/lab/internal/child"
	"offpath/cmd/lab/internal/netns"
)

// The test binary stands for the laboratory's: as a janitor, and as a run that
// is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "janitor" {
		if err := Janitor(os.Args[2]); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "run" {
		run()
		return
	}
	os.Exit(m.Run())
}

// run makes a namespace with two processes in it, says so, and waits to be
// killed.
func run() {
	l, err := Take(os.Args[0], "janitor")
	if err != nil {
		panic(err)
	}
	if err := exec.Command("ip", "netns", "add", l.Namespace("x")).Run(); err != nil {
		panic(err)
	}
	nursery := child.Open(l.Dir)
	_, err = nursery.Start(child.Spec{Name: "loner", Namespace: l.Namespace("x"), Path: "sh", Args: []string{"-c", "sleep 300 & wait"}})
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString("built " + strconv.Itoa(os.Getpid()) + "\n")
	select {}
}

func needRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces: needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip (Debian package iproute2)")
	}
}

// start starts a run and returns once it has built its things.
func start(t *testing.T) (cmd *exec.Cmd, pid int) {
	cmd = exec.Command(os.Args[0], "run")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "built ")))
	require.NoError(t, err)
	require.Equal(t, cmd.Process.Pid, pid)
	return cmd, pid
}

func traces(t *testing.T, pid int) []string {
	spaces, err := namespaces(strconv.Itoa(pid) + "-")
	require.NoError(t, err)
	dirs, err := filepath.Glob(folder(pid))
	require.NoError(t, err)
	return append(spaces, dirs...)
}

func TestAKilledRunIsTidiedUpByItsJanitor(t *testing.T) {
	needRoot(t)
	cmd, pid := start(t)
	spaces, err := namespaces(strconv.Itoa(pid) + "-")
	require.NoError(t, err)
	var inside []int
	require.Eventually(t, func() bool {
		inside, err = inhabitants(spaces)
		return err == nil && len(inside) == 2
	}, 10*time.Second, 5*time.Millisecond)
	require.Len(t, traces(t, pid), 2)

	require.NoError(t, cmd.Process.Kill())
	cmd.Wait()
	require.Eventually(t, func() bool { return len(traces(t, pid)) == 0 }, 10*time.Second, 20*time.Millisecond)
	for _, p := range inside {
		// A zombie that init has not reaped yet is in no namespace.
		_, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(p), "ns/net"))
		assert.Error(t, err, "process %d lives", p)
	}
}

func TestALivingRunIsLeftAloneAndADeadOneIsSwept(t *testing.T) {
	needRoot(t)
	_, living := start(t)
	// A run whose janitor was killed too leaves everything behind; no process
	// has an id this high (PID_MAX_LIMIT).
	const dead = 1<<22 + 7
	require.NoError(t, os.Mkdir(folder(dead), 0o755))
	require.NoError(t, exec.Command("ip", "netns", "add", prefix+strconv.Itoa(dead)+"-x").Run())
	require.Len(t, traces(t, dead), 2)

	l, err := Take(os.Args[0], "janitor")
	require.NoError(t, err)
	assert.Empty(t, traces(t, dead))
	assert.Len(t, traces(t, living), 2)
	require.NoError(t, l.Release())
	assert.Empty(t, traces(t, os.Getpid()))
}

func TestASpaceDialsFromInsideItsNamespace(t *testing.T) {
	needRoot(t)
	l, err := Take(os.Args[0], "janitor")
	require.NoError(t, err)
	defer func() { assert.NoError(t, l.Release()) }()
	name := l.Namespace("x")
	require.NoError(t, exec.Command("ip", "netns", "add", name).Run())
	require.NoError(t, exec.Command("ip", "-n", name, "link", "set", "lo", "up").Run())

	space, err := netns.Open(name, 2)
	require.NoError(t, err)
	var listener net.Listener
	require.NoError(t, space.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "127.0.0.1:0")
		return err
	}))
	defer listener.Close()
	to := netip.MustParseAddrPort(listener.Addr().String())
	conn, err := space.Dial(t.Context(), netip.MustParseAddr("127.0.0.77"), to)
	require.NoError(t, err)
	defer conn.Close()
	assert.Equal(t, "127.0.0.77", netip.MustParseAddrPort(conn.LocalAddr().String()).Addr().String())
	_, err = net.Dial("tcp", to.String())
	assert.Error(t, err, "the listener is reached from outside its namespace")

	space.Close()
	_, err = space.Dial(t.Context(), netip.Addr{}, to)
	assert.ErrorIs(t, err, netns.ErrClosed)
	_, err = netns.Open("offlab-none", 1)
	assert.ErrorIs(t, err, os.ErrNotExist)
}
