package http2_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/http2"
)

// tap records what both sides of a connection say, in the order in which the
// client has written and read it.
type tap struct {
	net.Conn
	mu       *sync.Mutex
	segments *[]segment
}

func (c tap) record(side http2.Side, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.segments = append(*c.segments, segment{side: side, data: append([]byte{}, data...)})
}

func (c tap) Write(p []byte) (int, error) {
	c.record(client, p)
	return c.Conn.Write(p)
}

func (c tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.record(server, p[:n])
	}
	return n, err
}

// talk lets net/http's client and server speak HTTP/2 in clear and returns what
// they said.
func talk(t *testing.T, handler http.HandlerFunc, say func(c *http.Client, url string)) []segment {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(listener)
	}()
	var segments []segment
	var mu sync.Mutex
	transport := &http.Transport{
		Protocols: new(http.Protocols), DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, address)
			return tap{c, &mu, &segments}, err
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	say(&http.Client{Transport: transport}, "http://"+listener.Addr().String())
	transport.CloseIdleConnections()
	require.NoError(t, s.Close())
	<-done
	mu.Lock()
	defer mu.Unlock()
	return segments
}

func TestWhatNetHTTPSaysIsRead(t *testing.T) {
	const requests = 200
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has reset it
		}
		n := len(body) + len(r.URL.Path)
		w.Header().Set("X-Path", r.URL.Path)
		w.Header().Set("Trailer", "X-Sum")
		if n%3 == 0 {
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.WriteHeader(200 + n%2)
		for range n % 5 {
			_, _ = io.WriteString(w, strings.Repeat(r.URL.Path, 100))
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-Sum", fmt.Sprint(n))
	}
	var mu sync.Mutex
	want := map[string]string{} // by path
	segments := talk(t, handler, func(c *http.Client, url string) {
		var wait sync.WaitGroup
		for worker := range 8 {
			wait.Go(func() {
				r := rand.New(rand.NewPCG(uint64(worker), 7))
				for i := range requests / 8 {
					path := fmt.Sprintf("/%d/%d", worker, i)
					body := strings.Repeat("x", 1+r.IntN(3)*r.IntN(20000))
					request, err := http.NewRequest([]string{"POST", "PUT"}[i%2], url+path, strings.NewReader(body))
					require.NoError(t, err)
					request.Header.Set("User-Agent", "peer/1")
					request.Trailer = http.Header{"X-Checksum": {"1"}}
					interim := 0
					request = request.WithContext(httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{
						Got1xxResponse: func(int, textproto.MIMEHeader) error { interim++; return nil },
					}))
					response, err := c.Do(request)
					require.NoError(t, err)
					got, err := io.ReadAll(response.Body)
					require.NoError(t, err)
					mu.Lock()
					want[path] = fmt.Sprintf("%s %d %d %d %d %s %s", request.Method, len(body), interim, response.StatusCode, len(got),
						response.Header.Get("X-Path"), response.Trailer.Get("X-Sum"))
					mu.Unlock()
				}
			})
		}
		wait.Wait()
	})
	for _, size := range []int{1 << 20, 1448, 11} {
		r := newReading(t)
		all := r.messages()
		r.feed(cut(segments, size))
		r.finish()
		got := map[string]string{}
		for at, request := range all {
			if at.side == server {
				continue
			}
			response := all[place{at.stream, server}]
			require.NotNil(t, response)
			require.True(t, request.ended && !request.broken && response.ended && !response.broken)
			path, sum := "", ""
			for _, f := range response.fields {
				if value, ok := strings.CutPrefix(f, "x-path="); ok {
					path = value
				}
			}
			for _, f := range response.trailers {
				sum = strings.TrimPrefix(f, "x-sum=")
			}
			require.Equal(t, []string{"x-checksum=1"}, request.trailers)
			got[request.target] = fmt.Sprintf("%s %d %d %d %d %s %s", request.method, request.bytes, len(response.interim), response.status, response.bytes, path, sum)
		}
		assert.Equal(t, want, got)
		assert.Zero(t, r.reader.Stats.FrameErrors)
		assert.Zero(t, r.reader.Stats.FieldsUnknown)
	}
}

func TestWhatNetHTTPResetsIsClosed(t *testing.T) {
	block := make(chan struct{})
	segments := talk(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			select {
			case <-block:
			case <-r.Context().Done():
			}
		}
	}, func(c *http.Client, url string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, "GET", url+"/slow", nil)
		require.NoError(t, err)
		response, err := c.Do(request)
		require.NoError(t, err)
		cancel()
		_, err = io.ReadAll(response.Body)
		require.Error(t, err)
		response, err = c.Get(url + "/after")
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		close(block)
	})
	r := newReading(t)
	r.feed(segments)
	r.finish()
	assert.Contains(t, r.lines(), "1 closed reset by client 8")
	assert.Contains(t, r.lines(), "3 closed ended")
}
