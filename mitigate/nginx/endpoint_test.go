package nginx_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/nginx"
)

// ask gives an order with any token, and returns the answer.
func ask(t *testing.T, s *nginxtest.Server, method, path, authorization, body string, want int) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(s.Address, "unix:"))
		},
	}}
	request, err := http.NewRequest(method, "http://offpath"+path, strings.NewReader(body))
	require.NoError(t, err)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	assert.Equal(t, want, response.StatusCode, "%s %s: %s", method, path, text)
	return string(text)
}

func TestOrdersNeedTheToken(t *testing.T) {
	s, _ := enforcing(t)
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer x", "Basic " + nginxtest.Token, nginxtest.Token, "Bearer " + nginxtest.Token + "x"} {
		ask(t, s, "GET", "/v1/status", authorization, "", 401)
		ask(t, s, "POST", "/v1/mode", authorization, "0", 401)
	}
	wrong := s.Target(t, func(o *nginx.Options) { o.Token = nginxtest.Secret("other") })
	_, err := wrong.Identity(t.Context())
	assert.ErrorContains(t, err, "does not know the token")
	for token, want := range map[string]string{"": "empty", "a b": "no header field", "a\nb": "no header field"} {
		_, err := s.Target(t, func(o *nginx.Options) { o.Token = nginxtest.Secret(token) }).Identity(t.Context())
		assert.ErrorContains(t, err, want, token)
	}
	absent := s.Target(t, func(o *nginx.Options) { o.Token = func() ([]byte, error) { return nil, os.ErrNotExist } })
	_, err = absent.Identity(t.Context())
	assert.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "token"), []byte("\n"), 0o600))
	s.Reload()
	_, err = s.Target(t).Identity(t.Context())
	assert.ErrorIs(t, err, nginx.ErrNotPrepared)
	assert.ErrorContains(t, err, "no token")
	ask(t, s, "GET", "/v1/status", "Bearer ", "", 503)
}

func TestWhatIsNoOrderChangesNothing(t *testing.T) {
	s, target := enforcing(t)
	e := entry(client)
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	order := func(path, body string, want int) string {
		return ask(t, s, "POST", path, "Bearer "+nginxtest.Token, body, want)
	}
	row := "b" + strings.Repeat("f", 37)
	for _, line := range []string{
		"", "x", "+", "+4/32/7f010203", "+4/32/7f010203 b", "+4/32/7f010203  " + row, "+start " + row, "-start", "+4/32/7f010203 " + row + "f",
		"+4/32/7f010203 x" + row[1:], "+4/32/7F 010203 " + row, "+p/abc " + row, "4/32/7f010203 " + row, "+" + strings.Repeat("4/32/7f010203", 4) + " " + row,
	} {
		answer := order("/v1/apply", "~\n"+line+"\n", 200)
		if line != "" {
			assert.Equal(t, "refused 0 malformed\nread 1\nend\n", answer, line)
		}
	}
	assert.Equal(t, "refused 0 malformed\nread 1\nend\n", order("/v1/apply", "~4/32=1 x=2\n-4/32/7f010203\n", 200))
	for path, body := range map[string]string{"/v1/apply": "+4/32/7f010203 " + row + "\n", "/v1/mode": "3", "/v1/allow": "127.0.0.1"} {
		order(path, body, 400)
	}
	order("/v1/mode", "0 and more", 400)
	order("/v1/none", "", 404)
	order("/v1/apply", strings.Repeat("x", 2<<20), 413)
	ask(t, s, "GET", "/v1/apply", "Bearer "+nginxtest.Token, "", 404)
	ask(t, s, "GET", "/v1/list?shard=16", "Bearer "+nginxtest.Token, "", 404)
	assert.Equal(t, refused(403, e), get(s, client, "/"))
}

func TestAScriptThatFailsRefusesNobody(t *testing.T) {
	t.Run("one that is missing", func(t *testing.T) {
		s := nginxtest.New(t, proxied, nginxtest.Options{})
		require.NoError(t, os.Remove(filepath.Join(s.Dir, "offpath.lua")))
		s.Up()
		assert.Equal(t, 200, get(s, client, "/").Status)
		assert.Contains(t, s.Log(), "not loaded, nothing is enforced")
		assert.ErrorIs(t, s.Target(t).Prepared(t.Context()), nginx.ErrNotPrepared)
	})
	t.Run("one that is broken", func(t *testing.T) {
		s := nginxtest.New(t, proxied, nginxtest.Options{})
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir, "offpath.lua"), []byte("nonsense("), 0o600))
		s.Up()
		assert.Equal(t, 200, get(s, client, "/").Status)
		assert.Contains(t, s.Log(), "not loaded, nothing is enforced")
	})
	t.Run("one that lacks a dictionary", func(t *testing.T) {
		s := nginxtest.New(t, proxied, nginxtest.Options{})
		s.Configure(strings.Replace(s.Config(), "lua_shared_dict offpath_verdicts_3 6m;", "", 1))
		s.Up()
		assert.Equal(t, 200, get(s, client, "/").Status)
		assert.Contains(t, s.Log(), "a lua_shared_dict is missing")
	})
	t.Run("one that fails at a request", func(t *testing.T) {
		s := nginxtest.New(t, proxied, nginxtest.Options{})
		path := filepath.Join(s.Dir, "offpath.lua")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		broken := strings.Replace(string(text), "local row = find(address", "local row = missing(address", 1)
		require.NotEqual(t, string(text), broken)
		require.NoError(t, os.WriteFile(path, []byte(broken), 0o600))
		s.Up()
		target := s.Target(t)
		require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry(client)}, nil))
		assert.Equal(t, 200, get(s, client, "/").Status)
		assert.Contains(t, s.Log(), "request let through")
		assert.Contains(t, ask(t, s, "GET", "/v1/status", "Bearer "+nginxtest.Token, "", 200), "\nerrors 1\n")

		_, err = target.Identity(t.Context())
		require.NoError(t, err)
		_, err = target.Identity(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 1, target.Faults())
		s.Down()
		s.Up()
		_, err = target.Identity(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 1, target.Faults(), "over a restart")
	})
}

func TestAnotherVersionOfTheScriptIsNotGivenOrders(t *testing.T) {
	s := nginxtest.New(t, proxied, nginxtest.Options{})
	path := filepath.Join(s.Dir, "offpath.lua")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(text), "local setup = 1", "local setup = 99", 1)), 0o600))
	s.Up()
	_, err = s.Target(t).Sync(t.Context(), nil)
	assert.ErrorIs(t, err, nginx.ErrNotPrepared)
	assert.ErrorContains(t, err, "version 99")
}

// endpoint is one that answers every order with the same.
func endpoint(t *testing.T, serve http.HandlerFunc) *nginx.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: serve}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	target, err := nginx.New(nginx.Options{Address: "tcp:" + l.Addr().String(), Token: nginxtest.Secret("x"), Timeout: time.Second})
	require.NoError(t, err)
	return target
}

func TestAnAnswerThatIsNotOneIsAnError(t *testing.T) {
	whole := "start 0123456789abcdef\nsoftware 1022001/10023\nclock 1\nsetup 1\nshards 16\nmode 2\noff 0\nreadable 1\n"
	for _, tt := range []struct{ name, answer, want string }{
		{"nothing", "", "last line is missing"},
		{"one cut short", whole, "last line is missing"},
		{"one cut in a line", whole + "eend\n", "last line is missing"},
		{"a number that is none", strings.Replace(whole, "clock 1", "clock x", 1) + "end\n", `"x" of its "clock"`},
		{"a number beyond all", strings.Replace(whole, "clock 1", "clock 1e300", 1) + "end\n", "of its"},
		{"a start that is none", strings.Replace(whole, "0123456789abcdef", "x", 1) + "end\n", "of its start"},
		{"a member too few", strings.Replace(whole, "mode 2\n", "", 1) + "end\n", "nothing of its mode"},
		{"too much", strings.Repeat("x", 33<<20), "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target := endpoint(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, tt.answer) })
			_, err := target.Identity(t.Context())
			assert.ErrorContains(t, err, tt.want)
		})
	}
	t.Run("orders of which some were not read", func(t *testing.T) {
		target := endpoint(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "read 0\nend\n") })
		err := target.Apply(t.Context(), []mitigate.Entry{entry(client)}, nil)
		assert.ErrorIs(t, err, mitigate.ErrIncomplete)
	})
	t.Run("a redirect", func(t *testing.T) {
		target := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		})
		_, err := target.Identity(t.Context())
		assert.ErrorContains(t, err, "302")
	})
	t.Run("none at all in time", func(t *testing.T) {
		target := endpoint(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		began := time.Now()
		_, err := target.Identity(t.Context())
		assert.Error(t, err)
		assert.Less(t, time.Since(began), 10*time.Second)
	})
}

func TestThePrintedOrdersByHandAreCarriedOut(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "no curl, and tests must not be skipped here")
		t.Skip("no curl on this machine: apt-get install curl")
	}
	for _, kind := range []string{"unix", "tcp", "https"} {
		s, target := enforcing(t, nginxtest.Options{Endpoint: kind})
		config, err := nginx.Setup{Address: s.Address, Dir: s.Dir}.Render()
		require.NoError(t, err)
		var orders []string
		for line := range strings.Lines(config.Header) {
			if order, ok := strings.CutPrefix(line, "#   curl "); ok {
				orders = append(orders, order)
			}
		}
		require.Len(t, orders, 3, kind)
		modes := []detect.Mode{detect.ModeOff, detect.ModeEnforce, detect.ModeEnforce}
		for i, order := range orders {
			out, err := exec.Command("sh", "-c", curl+" -sS --fail "+order).CombinedOutput()
			require.NoError(t, err, "%s: %s", order, out)
			mode, _, err := target.Mode(t.Context())
			require.NoError(t, err)
			assert.Equal(t, modes[i], mode, order)
			if i == 2 {
				assert.Contains(t, string(out), "\nerrors 0\nevicted 0\n")
			}
		}
	}
}
