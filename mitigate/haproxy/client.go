package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"offpath/mitigate"
)

const (
	// maxBatch is the most octets of a line of chained commands, and maxPayload
	// of a command with payload. The smallest buffer that HAProxy is built
	// with is 16 KiB; an operator's smaller one is read from `show pools`. Customers
	// on the same thread wait for a line to its end (`make bench-mitigate`).
	maxBatch   = 4 << 10
	maxPayload = 4 << 10
	// maxAnswer is the most octets that a session may return: a dump of a
	// million rows has 130 MB, and dumps are of tables known to be smaller.
	maxAnswer = 64 << 20

	severityOutput = "set severity-output number"

	// toWorker has the master send what follows it on the line to the present worker.
	toWorker = "@1"
)

// errTooLong says that an answer exceeded maxAnswer.
var errTooLong = fmt.Errorf("answer is longer than %d octets", maxAnswer)

// errUnsafe says that a command held an octet that HAProxy's command line may
// take for syntax. It is never sent.
var errUnsafe = errors.New("not a plain word")

// client speaks HAProxy's Runtime API. Its methods may be called concurrently.
type client struct {
	network, address string
	master           bool          // the address is the master's socket
	timeout          time.Duration // of connecting, and of each read and write
	remote           atomic.Pointer[netip.Addr]
}

// newClient takes `unix:/path`, `master:/path` or `tcp:host:port`.
func newClient(address string, timeout time.Duration) (*client, error) {
	network, where, ok := strings.Cut(address, ":")
	switch {
	case ok && (network == "unix" || network == "master") && strings.HasPrefix(where, "/"):
		return &client{network: "unix", address: where, master: network == "master", timeout: timeout}, nil
	case ok && network == "tcp":
		host, port, err := net.SplitHostPort(where)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("address %q is not tcp:HOST:PORT", address)
		}
		c := &client{network: network, address: where, timeout: timeout}
		if ip, err := netip.ParseAddr(host); err == nil {
			c.remote.Store(&ip)
		}
		return c, nil
	}
	return nil, fmt.Errorf("address %q is neither unix:/PATH nor master:/PATH nor tcp:HOST:PORT", address)
}

// plain says whether a word can be sent: letters, digits and a few signs, none
// of which HAProxy's command line takes for syntax.
func plain(word string) bool {
	for i := range len(word) {
		c := word[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("._:/@-", c) >= 0:
		default:
			return false
		}
	}
	return word != ""
}

// command joins words with single spaces.
func command(words ...string) (string, error) {
	for _, w := range words {
		if !plain(w) {
			return "", fmt.Errorf("word %q: %w", w, errUnsafe)
		}
	}
	return strings.Join(words, " "), nil
}

// ask runs one command and returns its answer; a refusal is an error.
func (c *client) ask(ctx context.Context, words ...string) (string, error) {
	cmd, err := command(words...)
	if err != nil {
		return "", err
	}
	answers, err := c.run(ctx, []string{cmd}, "")
	if err != nil {
		return "", err
	}
	if a := answers[0]; 0 <= a.severity && a.severity <= 3 || c.master && !expected(words, a.text) {
		return "", fmt.Errorf("%s: %s", cmd, firstLine(a.text))
	}
	return answers[0].text, nil
}

// expected reports whether a text can be the answer of a command that succeeded: through
// the master answers come without a level.
func expected(words []string, text string) bool {
	begins := func(with string) bool { return strings.HasPrefix(text, with) }
	switch {
	case words[0] == "prepare":
		return begins("New version created: ")
	case words[0] != "show":
		return text == ""
	case words[1] == "table":
		return text == "" || begins("# table: ")
	case words[1] == "map" && len(words) == 2:
		return begins("# id (file) ")
	case words[1] == "map":
		return text == "" || begins("0x")
	case words[1] == "info":
		return begins("Name: ")
	}
	return begins("Dumping pools usage")
}

// run sends commands on one connection and returns their answers. The last
// command takes the payload, if there is one: whole lines, none of them empty.
// With an error the answers that came before it are returned too.
func (c *client) run(ctx context.Context, commands []string, payload string) ([]answer, error) {
	size := len(severityOutput) + len(payload) + len(" <<\n\n")
	for _, cmd := range commands {
		size += len(";") + len(cmd)
	}
	var line strings.Builder
	line.Grow(size)
	prelude := 1 // the answers before those to commands
	if c.master {
		line.WriteString(toWorker)
		prelude = 0
	} else {
		line.WriteString(severityOutput)
	}
	for _, cmd := range commands {
		line.WriteByte(';')
		line.WriteString(cmd)
	}
	if payload != "" {
		line.WriteString(" <<\n")
		line.WriteString(payload)
	}
	line.WriteByte('\n')

	session, err := c.exchange(ctx, line.String())
	if err != nil {
		err = fmt.Errorf("haproxy at %s:%s: %w", c.network, c.address, err)
	}
	answers, splitErr := splitAnswers(session, prelude+len(commands))
	if err == nil && splitErr != nil {
		err = fmt.Errorf("haproxy at %s:%s: %w", c.network, c.address, splitErr)
	}
	if len(answers) < prelude {
		return nil, err
	}
	if prelude > 0 && answers[0].refused() && err == nil {
		err = fmt.Errorf("haproxy at %s:%s: %s: %s", c.network, c.address, severityOutput, answers[0].text)
	}
	return answers[prelude:], err
}

// exchange sends one request and reads until HAProxy closes.
func (c *client) exchange(ctx context.Context, request string) ([]byte, error) {
	dialer := net.Dialer{Timeout: c.timeout}
	conn, err := dialer.DialContext(ctx, c.network, c.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// The end of the context ends reads and writes at once.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ip := a.AddrPort().Addr().Unmap()
		c.remote.Store(&ip)
	}

	conn.SetWriteDeadline(time.Now().Add(c.timeout))
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, c.cause(ctx, err)
	}
	if half, ok := conn.(*net.UnixConn); ok && c.master { // which waits for more commands else
		if err := half.CloseWrite(); err != nil {
			return nil, c.cause(ctx, err)
		}
	}
	session := make([]byte, 0, 512)
	for {
		if len(session) == cap(session) {
			session = append(session, 0)[:len(session)]
		}
		conn.SetReadDeadline(time.Now().Add(c.timeout))
		n, err := conn.Read(session[len(session):cap(session)])
		session = session[:len(session)+n]
		switch {
		case err == io.EOF:
			return session, nil
		case err != nil:
			return session, c.cause(ctx, err)
		case len(session) > maxAnswer:
			return session, errTooLong
		}
	}
}

// cause prefers the context's reason over that of the closed connection.
func (c *client) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", mitigate.ErrIncomplete, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", mitigate.ErrIncomplete, err)
}
