package tls_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tls"
	"offpath/reassembly/tls/hello"
)

// openssl is an s_server that reverses lines, or prints what it gets, and the
// files of its peers.
type openssl struct {
	t      *testing.T
	folder string
	server string // address
}

func serve(t *testing.T, args ...string) *openssl {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	o := &openssl{t: t, folder: t.TempDir()}
	cert := rsaCertificate(t)
	require.NoError(t, os.WriteFile(o.file("cert.pem"), append(pemOf("CERTIFICATE", cert.Certificate[0]), keyPEM(t)...), 0o600))
	cmd := exec.Command(program, append([]string{"s_server", "-accept", "127.0.0.1:0", "-cert", o.file("cert.pem"), "-key", o.file("cert.pem")}, args...)...)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { stdin.Close(); cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "ACCEPT "); ok {
			o.server = address
			break
		}
	}
	require.NotEmpty(t, o.server, "s_server does not listen")
	go io.Copy(io.Discard, stdout)
	return o
}

func (o *openssl) file(name string) string { return filepath.Join(o.folder, name) }

// relay passes one connection on to the server, and records it.
func (o *openssl) relay(tp *tape) (address string, done chan struct{}) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(o.t, err)
	done = make(chan struct{})
	go func() {
		defer close(done)
		defer l.Close()
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", o.server)
		if err != nil {
			return
		}
		defer server.Close()
		deadline := time.Now().Add(30 * time.Second)
		client.SetDeadline(deadline)
		server.SetDeadline(deadline)
		var both sync.WaitGroup
		pass := func(to *tapped, from net.Conn) {
			io.Copy(struct{ io.Writer }{to}, from)
			to.Conn.(*net.TCPConn).CloseWrite()
		}
		both.Go(func() { pass(&tapped{server, tp, true}, client) })
		both.Go(func() { pass(&tapped{client, tp, false}, server) })
		both.Wait()
	}()
	return l.Addr().String(), done
}

// connect runs s_client with a dialogue: lines to send, each with what to wait for
// in its output before the next.
func (o *openssl) connect(dialogue [][2]string, args ...string) *tape {
	o.t.Helper()
	tp := &tape{}
	address, done := o.relay(tp)
	keyLog := o.file("keys.log")
	cmd := exec.Command("openssl", append([]string{"s_client", "-connect", address, "-servername", "bank.example", "-keylogfile", keyLog}, args...)...)
	stdin, err := cmd.StdinPipe()
	require.NoError(o.t, err)
	stdout, both, err := os.Pipe()
	require.NoError(o.t, err)
	defer stdout.Close()
	cmd.Stdout, cmd.Stderr = both, both
	require.NoError(o.t, cmd.Start())
	require.NoError(o.t, both.Close())
	timer := time.AfterFunc(8*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	output := bufio.NewReader(stdout)
	heard := ""
	for _, turn := range dialogue {
		_, err := io.WriteString(stdin, turn[0])
		require.NoError(o.t, err)
		for !strings.Contains(heard, turn[1]) {
			octet, err := output.ReadByte()
			require.NoError(o.t, err, "waiting for %q s_client said %q", turn[1], heard)
			heard += string(octet)
		}
		if turn[1] != "" {
			heard = ""
		}
	}
	require.NoError(o.t, stdin.Close()) // it hangs up then
	io.Copy(io.Discard, output)
	<-done
	cmd.Wait()
	log, err := os.ReadFile(keyLog)
	require.NoError(o.t, err)
	tp.log.Write(log)
	return tp
}

// ready is what s_client prints when it takes input.
const ready = "---\n"

func TestOpenSSLPeers(t *testing.T) {
	lines := [][2]string{{"", ready}, {"first line\n", "enil tsrif\n"}, {"second\n", "dnoces\n"}}
	updates := [][2]string{{"", ready}, {"first line\n", "enil tsrif\n"}, {"K\n", "KEYUPDATE\n"}, {"second\n", "dnoces\n"},
		{"k\n", "KEYUPDATE\n"}, {"third\n", "driht\n"}, {"K\n", "KEYUPDATE\n"}, {"fourth\n", "htruof\n"}}
	again := [][2]string{{"", ready}, {"first line\n", "enil tsrif\n"}, {"R\n", "RENEGOTIATING\n"}, {"second\n", "dnoces\n"}}
	for _, c := range []struct {
		name     string
		args     []string // of both
		server   []string
		dialogue [][2]string
		version  uint16
		key      bool // RSA key exchange: the server's key is enough
	}{
		{"TLS 1.3, key updates", []string{"-tls1_3"}, nil, updates, hello.VersionTLS13, false},
		{"TLS 1.3, AES-CCM", []string{"-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"}, nil, lines, hello.VersionTLS13, false},
		{"TLS 1.3, AES-CCM with a short tag", []string{"-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256:@SECLEVEL=0"}, nil, lines, hello.VersionTLS13, false},
		{"TLS 1.3, padding", []string{"-tls1_3"}, []string{"-record_padding", "64"}, lines, hello.VersionTLS13, false},
		{"TLS 1.2, AES-CCM", []string{"-tls1_2", "-cipher", "AES128-CCM"}, nil, lines, hello.VersionTLS12, true},
		{"TLS 1.2, AES-256-CCM with a short tag", []string{"-tls1_2", "-cipher", "AES256-CCM8:@SECLEVEL=0"}, nil, lines, hello.VersionTLS12, true},
		{"TLS 1.2, encrypt-then-MAC, SHA-256", []string{"-tls1_2", "-cipher", "AES128-SHA256"}, nil, lines, hello.VersionTLS12, true},
		{"TLS 1.2, encrypt-then-MAC, SHA-384", []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"}, nil, lines, hello.VersionTLS12, false},
		{"TLS 1.2, DHE", []string{"-tls1_2", "-cipher", "DHE-RSA-AES256-SHA256"}, nil, lines, hello.VersionTLS12, false},
		{"TLS 1.1, encrypt-then-MAC", []string{"-tls1_1", "-cipher", "AES256-SHA:@SECLEVEL=0"}, nil, lines, hello.VersionTLS11, true},
		{"TLS 1.0, encrypt-then-MAC", []string{"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"}, nil, lines, hello.VersionTLS10, true},
		{"TLS 1.2, renegotiation", []string{"-tls1_2", "-cipher", "AES128-GCM-SHA256"}, []string{"-client_renegotiation"}, again, hello.VersionTLS12, true},
		{"TLS 1.0, renegotiation", []string{"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"}, []string{"-client_renegotiation"}, again, hello.VersionTLS10, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, append(append([]string{"-rev"}, c.server...), c.args...)...)
			tp := s.connect(c.dialogue, c.args...)
			x := &exchange{}
			for _, turn := range c.dialogue {
				if len(turn[0]) > 2 {
					x.requests = append(x.requests, []byte(turn[0]))
					x.responses = append(x.responses, []byte(turn[1]))
				}
			}
			ways := []tls.Config{{Secrets: store(t, tp.log.Bytes()), Complete: true}}
			if c.key {
				ways = append(ways, withKeys(t, nil))
			}
			for _, config := range ways {
				for _, size := range []int{1448, 1} {
					o := observe(t, config)
					o.hear(tp.said, size)
					o.equal(t, x)
					assert.Equal(t, c.version, o.conn.Version())
					o.close(t)
				}
			}
		})
	}
}
