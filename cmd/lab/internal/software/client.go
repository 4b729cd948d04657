package software

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	timeout = 10 * time.Second // for one exchange
	maxBody = 64 << 10         // octets of a response
)

// Request is what a request says beyond what its software always says.
type Request struct {
	Method, Path        string
	ContentType, Body   string
	Bearer, Cookie      string
	ClaimedForwardedFor string // sent as X-Forwarded-For by software that does
}

// Response is what came back.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Client is an installation of a program.
type Client struct {
	Software Software
	// Dial opens a connection to the bank.
	Dial func(ctx context.Context, host string) (net.Conn, error)

	conn   net.Conn
	reader *bufio.Reader
	used   bool // the connection has served a request
}

// Do sends a request and reads its response. A kept-alive connection that
// turns out to be closed is replaced once, as programs do.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	for {
		reused := c.conn != nil && c.used
		response, err := c.exchange(ctx, r)
		if err == nil {
			return response, nil
		}
		c.Close()
		if !reused || !errors.Is(err, errNoResponse) || ctx.Err() != nil {
			return nil, err
		}
	}
}

var errNoResponse = errors.New("connection ended without a response")

func (c *Client) exchange(ctx context.Context, r Request) (*Response, error) {
	host := Hosts[c.Software.Channel]
	if c.conn == nil {
		conn, err := c.Dial(ctx, host)
		if err != nil {
			return nil, err
		}
		c.conn, c.reader, c.used = conn, bufio.NewReader(conn), false
	}
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	if _, err := c.conn.Write(c.Software.marshal(r, host)); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoResponse, err)
	}
	if _, err := c.reader.Peek(1); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoResponse, err)
	}
	response, err := http.ReadResponse(c.reader, &http.Request{Method: r.Method})
	if err != nil {
		return nil, fmt.Errorf("read response: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read response body: %w", err)
	}
	c.used = true
	if c.Software.Fresh || response.Close {
		c.Close()
	}
	return &Response{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}

// Close closes the connection; the next request opens another.
func (c *Client) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (s Software) marshal(r Request, host string) []byte {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\n", r.Method, r.Path)
	for _, field := range s.Fields {
		name, value := field[0], field[1]
		if value == "" {
			value = r.value(name, host)
		}
		if value != "" {
			b = fmt.Appendf(b, "%s: %s\r\n", name, value)
		}
	}
	return append(append(b, "\r\n"...), r.Body...)
}

// value fills in a field that depends on the request.
func (r Request) value(name, host string) string {
	switch name {
	case "Host":
		return host
	case "Content-Type":
		return r.ContentType
	case "Content-Length":
		if r.Method != http.MethodGet {
			return strconv.Itoa(len(r.Body))
		}
	case "Authorization":
		if r.Bearer != "" {
			return "Bearer " + r.Bearer
		}
	case "Cookie":
		return r.Cookie
	case "X-Forwarded-For":
		return r.ClaimedForwardedFor
	}
	return ""
}
