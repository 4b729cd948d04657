package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// clientTimeout bounds one order, including the time that load balancers take
// to follow it.
const clientTimeout = 30 * time.Second

// Client gives orders to a running offpath over its admin socket.
type Client struct {
	socket string
	http   http.Client
}

// NewClient returns a client of the socket at path.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{socket: path, http: http.Client{
		Timeout: clientTimeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return d.DialContext(ctx, "unix", path)
			},
		},
	}}
}

// Lift ends the verdict of the id.
func (c *Client) Lift(ctx context.Context, id string) error {
	return c.post(ctx, "/api/v1/verdicts/"+url.PathEscape(id)+"/lift")
}

// Approve puts a verdict in force that waits for it.
func (c *Client) Approve(ctx context.Context, id string) error {
	return c.post(ctx, "/api/v1/approvals/"+url.PathEscape(id)+"/approve")
}

// Approvals asks what waits for approval.
func (c *Client) Approvals(ctx context.Context) ([]Approval, error) {
	var answer struct{ Approvals []Approval }
	body, err := c.do(ctx, http.MethodGet, "/api/v1/approvals")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("read answer of offpath at %s: %w", c.socket, err)
	}
	return answer.Approvals, nil
}

// Off stops all enforcement.
func (c *Client) Off(ctx context.Context) error { return c.post(ctx, "/api/v1/off") }

// On resumes it.
func (c *Client) On(ctx context.Context) error { return c.post(ctx, "/api/v1/on") }

// Explain asks what there is about a finding or verdict.
func (c *Client) Explain(ctx context.Context, id string) (*Explanation, error) {
	body, err := c.do(ctx, http.MethodGet, "/api/v1/explain/"+url.PathEscape(id))
	if err != nil {
		return nil, err
	}
	e := &Explanation{}
	if err := json.Unmarshal(body, e); err != nil {
		return nil, fmt.Errorf("read answer of offpath at %s: %w", c.socket, err)
	}
	return e, nil
}

func (c *Client) post(ctx context.Context, path string) error {
	_, err := c.do(ctx, http.MethodPost, path)
	return err
}

// maxAnswer is how much of an answer is read, octets.
const maxAnswer = 64 << 20

func (c *Client) do(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://offpath"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read answer of offpath at %s: %w", c.socket, err)
	}
	if answer.StatusCode/100 == 2 {
		return body, nil
	}
	problem := Problem{Title: http.StatusText(answer.StatusCode)}
	if err := json.Unmarshal(body, &problem); err != nil {
		return nil, fmt.Errorf("offpath at %s answered %s", c.socket, answer.Status)
	}
	return nil, &problem
}

// explain says what it means that the socket could not be reached.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no offpath runs here: admin socket %s does not exist (admin.socket in the configuration says where it is)", c.socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no offpath runs here: nobody listens on admin socket %s", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission for admin socket %s; run as the user that offpath runs as, or as root", c.socket)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("talk to offpath at %s: %w", c.socket, err)
}
