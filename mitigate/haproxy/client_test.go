package haproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate"
)

// faulty listens as HAProxy would and does with each connection what a real
// one only does when it breaks.
func faulty(t *testing.T, behave func(conn net.Conn, line string)) *client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				line, _ := bufio.NewReader(conn).ReadString('\n')
				behave(conn, line)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	c, err := newClient("unix:"+path, 5*time.Second)
	require.NoError(t, err)
	return c
}

func TestFaultyAnswersAreErrorsAndNeverSuccess(t *testing.T) {
	tests := []struct {
		name   string
		behave func(conn net.Conn, line string)
		err    string
	}{
		{"closed without an answer", func(net.Conn, string) {}, "0 answers to 3 commands"},
		{"closed after the first of two", func(c net.Conn, _ string) { c.Write([]byte("\n\n")) }, "2 answers to 3 commands"},
		{"cut within a line", func(c net.Conn, _ string) { c.Write([]byte("\n\n[3]: No su")) }, "2 answers to 3 commands"},
		{"another protocol", func(c net.Conn, _ string) {
			c.Write([]byte("HTTP/1.1 400 Bad request\r\nConnection: close\r\n\r\n"))
		}, "0 answers to 3 commands"},
		{"a greeting", func(c net.Conn, _ string) { c.Write([]byte("220 mail.example ESMTP\n\n\n\n")) }, "set severity-output number"},
		{"more answers than commands", func(c net.Conn, _ string) { c.Write(bytes.Repeat([]byte("\n"), 9)) }, "octets after the last answer"},
		{"binary", func(c net.Conn, _ string) { c.Write(bytes.Repeat([]byte{0, 255, 10}, 9)) }, "answers to 3 commands"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := faulty(t, tt.behave)
			_, err := c.run(t.Context(), []string{"a", "b"}, "")
			require.ErrorContains(t, err, tt.err)
			assert.Contains(t, err.Error(), c.address, "it says where")
		})
	}
}

func TestAnswersInAnyPiecesAreRead(t *testing.T) {
	c := faulty(t, func(conn net.Conn, _ string) {
		for _, b := range []byte("\nfirst\nof two\n\n[4]: second\n\n") {
			conn.Write([]byte{b})
		}
	})
	answers, err := c.run(t.Context(), []string{"a", "b"}, "")
	require.NoError(t, err)
	assert.Equal(t, []answer{{-1, "first\nof two"}, {4, "second"}}, answers)
}

func TestSilentLoadBalancerEndsWithTheTimeoutOrTheContext(t *testing.T) {
	silence := make(chan struct{})
	c := faulty(t, func(net.Conn, string) { <-silence })
	defer close(silence)

	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := fmt.Errorf("the controller stops")
	cancel(stopped)
	_, err := c.run(ctx, []string{"a"}, "")
	assert.Error(t, err)

	ctx, cancelSoon := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, stopped)
	defer cancelSoon()
	_, err = c.run(ctx, []string{"a"}, "")
	assert.ErrorIs(t, err, mitigate.ErrIncomplete)
	assert.ErrorIs(t, err, stopped)

	c.timeout = 20 * time.Millisecond
	_, err = c.run(t.Context(), []string{"a"}, "")
	assert.ErrorIs(t, err, mitigate.ErrIncomplete)
	assert.ErrorContains(t, err, "timeout")
}

func TestEndlessAnswerIsCutOff(t *testing.T) {
	c := faulty(t, func(conn net.Conn, _ string) {
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	})
	_, err := c.run(t.Context(), []string{"a"}, "")
	assert.ErrorIs(t, err, errTooLong)
}

func TestBulkKeepsBatchesSmallAndNamesWhatWasRefused(t *testing.T) {
	const n, size = 1000, 500
	var mu sync.Mutex
	seen := make(map[string]int)
	longest := 0
	c := faulty(t, func(conn net.Conn, line string) {
		commands := strings.Split(strings.TrimSuffix(line, "\n"), ";")
		mu.Lock()
		longest = max(longest, len(line))
		for _, cmd := range commands[1:] {
			seen[cmd]++
		}
		mu.Unlock()
		for _, cmd := range commands {
			if strings.HasSuffix(cmd, "77") {
				conn.Write([]byte("[3]: full\nof text\n"))
			}
			conn.Write([]byte("\n"))
		}
	})
	order := func(i int) (string, error) { return fmt.Sprintf("order %d", i), nil }
	refusals, err := c.bulk(t.Context(), size, n, order)
	require.NoError(t, err)
	assert.Len(t, seen, n)
	assert.LessOrEqual(t, longest, size+1)
	var indexes []int
	for _, r := range refusals {
		assert.Equal(t, "full", r.answer)
		indexes = append(indexes, r.index)
	}
	assert.ElementsMatch(t, []int{77, 177, 277, 377, 477, 577, 677, 777, 877, 977}, indexes)

	_, err = c.bulk(t.Context(), size, n, func(i int) (string, error) {
		if i == 500 {
			return command("set", "a b")
		}
		return order(i)
	})
	assert.ErrorIs(t, err, errUnsafe, "an order that can't be sent ends the bulk")
}

func TestBulkStopsAtTheFirstFailure(t *testing.T) {
	var mu sync.Mutex
	connections := 0
	c := faulty(t, func(conn net.Conn, line string) {
		mu.Lock()
		defer mu.Unlock()
		connections++
	})
	_, err := c.bulk(t.Context(), 100, 100_000, func(i int) (string, error) { return fmt.Sprint("order ", i), nil })
	assert.ErrorIs(t, err, mitigate.ErrIncomplete)
	mu.Lock()
	defer mu.Unlock()
	assert.LessOrEqual(t, connections, 3*bulkConnections)
}

func TestOnlyPlainWordsAreSent(t *testing.T) {
	for _, word := range []string{"", "a b", "a;b", "a\nb", "a\\b", "a\tb", "<<", "a\x00", "é", "\"a\"", "'a'", "#1", "a&b", "a|b", "$a", "%[src]", "{a}", "a,b", "a=b", "(a)", "a\r"} {
		_, err := command("set", word)
		assert.ErrorIs(t, err, errUnsafe, "%q", word)
		_, err = setOrder(word, record{})
		assert.ErrorIs(t, err, errUnsafe, "%q", word)
	}
	cmd, err := command("show", "map", "@12", "/etc/haproxy/offpath-1/a_b.map")
	assert.NoError(t, err)
	assert.Equal(t, "show map @12 /etc/haproxy/offpath-1/a_b.map", cmd)
}

func TestAddressesOfSockets(t *testing.T) {
	for _, good := range []string{"unix:/run/haproxy/admin.sock", "tcp:127.0.0.1:9999", "tcp:[::1]:9999", "tcp:lb1.example:9999", "master:/run/haproxy-master.sock"} {
		_, err := newClient(good, 0)
		assert.NoError(t, err, good)
	}
	for _, bad := range []string{"", "unix:", "unix:relative", "master:relative", "master:127.0.0.1:9999", "tcp:", "tcp:127.0.0.1", "tcp::9999", "tcp:host:", "udp:127.0.0.1:1", "/run/haproxy/admin.sock", "127.0.0.1:9999"} {
		_, err := newClient(bad, 0)
		assert.ErrorContains(t, err, fmt.Sprintf("%q", bad))
	}
}

func TestThroughTheMasterAnAnswerIsKnownByItsForm(t *testing.T) {
	for _, tt := range []struct {
		command, text string
		expected      bool
	}{
		{"show table", "", true},
		{"show table", "# table: a, type: string, size:1, used:0", true},
		{"show table a", "No such table", false},
		{"show map", "# id (file) description", true},
		{"show map", "Permission denied", false},
		{"show map /m", "", true},
		{"show map /m", "0x55 10.0.0.0/8 1:2:3", true},
		{"show map /m", "Unknown map identifier. Please use #<id> or <file>.", false},
		{"show info", "Name: HAProxy", true},
		{"show info", "", false},
		{"show pools", "Dumping pools usage. Use SIGQUIT to flush them.", true},
		{"show pools", "Unknown command", false},
		{"prepare map /m", "New version created: 7", true},
		{"prepare map /m", "", false},
		{"commit map @7 /m", "", true},
		{"commit map @7 /m", "Version number out of range.", false},
		{"set table a key b", "", true},
		{"clear table a", "No such table", false},
	} {
		assert.Equal(t, tt.expected, expected(strings.Fields(tt.command), tt.text), "%s: %s", tt.command, tt.text)
	}
}

func TestAMasterWithoutAWorkerIsAnError(t *testing.T) {
	c := faulty(t, func(conn net.Conn, line string) {
		if line == "@1;show table\n" {
			io.WriteString(conn, "Can't find the target PID matching the prefix '@1'\n")
		}
	})
	c.master = true
	_, err := c.ask(t.Context(), "show", "table")
	assert.ErrorIs(t, err, mitigate.ErrIncomplete)
}
