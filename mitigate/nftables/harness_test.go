package nftables_test

import (
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/controller"
	"offpath/mitigate/internal/targettest"
	"offpath/mitigate/nftables"
)

// bank is a server on all addresses, with a protected port and another.
type bank struct {
	backend     *targettest.Backend
	port, other uint16
}

func newBank(t testing.TB) *bank {
	t.Helper()
	namespace(t)
	b := &bank{backend: targettest.NewBackend(t)}
	for _, port := range []*uint16{&b.port, &b.other} {
		l, err := net.Listen("tcp", ":0")
		require.NoError(t, err)
		s := httptest.NewUnstartedServer(b.backend)
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
		*port = uint16(l.Addr().(*net.TCPAddr).Port)
	}
	return b
}

// url is the address of a port for a client.
func url(client string, port uint16) string {
	if strings.Contains(client, ":") {
		return fmt.Sprintf("http://[::1]:%d/", port)
	}
	return fmt.Sprintf("http://127.0.0.1:%d/", port)
}

// ask asks as a client. What is refused has an error; any other failure is no refusal.
func (b *bank) ask(client string) (targettest.Answer, error) {
	answer, err := targettest.TryGet(client, url(client, b.port))
	if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
		return targettest.Answer{Marker: err.Error()}, nil
	}
	if answer.Marker == targettest.SpoofedMarker {
		answer.Marker = "" // here only its absence would be of note
	}
	return answer, err
}

func (b *bank) passes(client string) bool {
	answer, err := b.ask(client)
	return err == nil && answer.Status == 200
}

func (b *bank) refuses(client string) bool {
	_, err := b.ask(client)
	return err != nil
}

func (b *bank) target(t testing.TB) *nftables.Target {
	t.Helper()
	target, err := nftables.New(nftables.Options{Name: "lb1", Ports: []uint16{b.port}})
	require.NoError(t, err)
	return target.Watchful()
}

// enforcing is a running controller that is connected, and looks at the kernel often, or
// at intervals.
func (b *bank) enforcing(t testing.TB, poll ...time.Duration) *controller.Controller {
	t.Helper()
	config := controller.Config{Targets: []mitigate.Target{b.target(t)}, Mode: detect.ModeEnforce}
	if len(poll) > 0 {
		config.PollInterval = poll[0]
	}
	c, _ := targettest.Running(t, config)
	eventually(t, "connected", func() bool { s := c.Targets()[0]; return s.Connected && s.Mode == detect.ModeEnforce })
	return c
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	targettest.Eventually(t, condition, func() string { return what })
}

// nft runs a command as somebody else does.
func nft(t testing.TB, words ...string) string {
	t.Helper()
	out, err := exec.Command(targettest.Program(t, "nft"), words...).CombinedOutput()
	require.NoError(t, err, "nft %v: %s", words, out)
	return string(out)
}
