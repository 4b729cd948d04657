package fingerprint_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/fingerprint"
	"offpath/reassembly/message"
)

// balancer is an HAProxy that answers every request with the fingerprint that it
// computes, or passes it on as load balancers do it.
const balancer = `global
  lua-load-per-thread %s
defaults
  mode http
  timeout client 10s
  timeout server 10s
  timeout connect 10s
frontend clients
  bind 127.0.0.1:%d
  http-request return status 200 hdr X-Core %%[lua.offpath_fingerprint] if !{ path /pass }
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Request-Id %%[uuid]
  http-request del-header cookie
  default_backend site
backend site
  server site %s
`

// startHAProxy returns the address of one in front of a site.
func startHAProxy(t *testing.T, site string) string {
	t.Helper()
	path, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("needs haproxy")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	var lua []byte
	for _, part := range []string{"../../mitigate/internal/lua/shared.lua", "../../mitigate/haproxy/setup/request.lua"} {
		text, err := os.ReadFile(part)
		require.NoError(t, err)
		lua = append(lua, text...)
	}
	folder := t.TempDir()
	script, config := filepath.Join(folder, "offpath.lua"), filepath.Join(folder, "haproxy.cfg")
	require.NoError(t, os.WriteFile(script, lua, 0o600))
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, balancer, script, port, site), 0o600))
	cmd := exec.Command(path, "-db", "-f", config)
	var said strings.Builder
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	return address
}

// ask sends a vector's request, and returns the answer.
func ask(t *testing.T, address, target string, v *vector) *http.Response {
	t.Helper()
	text := "GET " + target + " HTTP/1.1\r\nConnection: close\r\n"
	for _, f := range v.Fields {
		if !strings.HasPrefix(f[0], ":") && !strings.EqualFold(f[0], "connection") && !strings.EqualFold(f[0], "content-length") {
			text += f[0] + ": " + f[1] + "\r\n"
		}
	}
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, text+"\r\n")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	require.Equal(t, 200, answer.StatusCode)
	return answer
}

func TestALoadBalancerComputesTheSameCore(t *testing.T) {
	address := startHAProxy(t, "127.0.0.1:1")
	list := vectors(t)
	list["values at the edge"] = vector{Fields: [][2]string{
		{"User-Agent", "Android (Android 9) Android( x) 0123456789abcde 0123456789abcdef 0123456789abcdef-1 1.2._3.x Android)"},
		{"Accept-Language", "de-,fr;q="}, {"Accept-Charset", "UTF-8 , *;\tQ=0.5"}, {"sec-ch-ua", ""},
	}}
	asked := 0
	for name, v := range list {
		if v.Ignore != nil || v.Version == "0.9" {
			continue // the script has no list of its own, and the load balancer no such version
		}
		var names fingerprint.Names
		assert.Equal(t, names.Core(fieldsOf(v.Fields)), ask(t, address, "/", &v).Header.Get("X-Core"), name)
		asked++
	}
	assert.Greater(t, asked, 10)
}

func TestARealLoadBalancerLeavesTheCoreAsItIs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	heads := make(chan []message.Field, 1)
	go func() { // a site that reads heads as they come
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var fields []message.Field
			for lines := bufio.NewScanner(c); lines.Scan() && lines.Text() != ""; {
				if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
					fields = append(fields, message.Field{Name: []byte(name), Value: []byte(strings.TrimSpace(value))})
				}
			}
			heads <- fields
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			c.Close()
		}
	}()
	address := startHAProxy(t, l.Addr().String())
	var names fingerprint.Names
	for name, v := range vectors(t) {
		if v.Version == "0.9" {
			continue
		}
		ask(t, address, "/pass", &v)
		behind := <-heads
		assert.Equal(t, names.Core(fieldsOf(v.Fields)), names.Core(behind), name)
		assert.Equal(t, names.Loose(fieldsOf(v.Fields)), names.Loose(behind), name)
		head := message.Head{Fields: behind}
		_, added := head.Get("x-forwarded-for")
		_, removed := head.Get("cookie")
		assert.True(t, added && !removed, name)
	}
}
