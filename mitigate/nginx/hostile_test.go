package nginx_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"offpath/detect"
	"offpath/mitigate"
	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/nginx"
)

// raw sends the lines of a request as they stand, and returns the status.
func raw(t *testing.T, s *nginxtest.Server, lines string) int {
	t.Helper()
	return rawAnswer(t, s, lines).StatusCode
}

func rawAnswer(t *testing.T, s *nginxtest.Server, lines string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, lines+"Connection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err, lines)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer
}

// h2 asks over HTTP/2 with the header fields as they stand, and returns the header fields
// of the answer.
func h2(t *testing.T, s *nginxtest.Server, fields [][2]string) map[string]string {
	t.Helper()
	conn, err := net.Dial("tcp", s.H2)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(t, framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		require.NoError(t, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	for {
		frame, err := framer.ReadFrame()
		require.NoError(t, err)
		if head, ok := frame.(*http2.MetaHeadersFrame); ok {
			answer := map[string]string{}
			for _, f := range head.Fields {
				answer[f.Name] = f.Value
			}
			return answer
		}
	}
}

func TestPredicatesMatchRequestsOverHTTP2(t *testing.T) {
	s, target := enforcing(t)
	request := func(host, path string, more ...string) [][2]string {
		fields := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", path}, {":authority", host}}
		for i := 0; i+1 < len(more); i += 2 {
			fields = append(fields, [2]string{strings.ToLower(more[i]), more[i+1]})
		}
		return fields
	}
	program := append(program, "Accept-Encoding", "gzip")
	for name, s2 := range map[string]detect.Subject{
		"a program":     {Fingerprint: programCore},
		"a User-Agent":  {UserAgent: "cracker/2.17 (x)"},
		"an endpoint":   {Endpoint: "GET bank.example/api/login"},
		"a domain":      {Domain: "bank.example"},
		"all of it":     {Client: subject("127.0.0.1").Client, Fingerprint: programCore, UserAgent: "cracker/2.17 (x)", Endpoint: "GET bank.example/api/login"},
		"the client IP": {Client: subject("127.0.0.1").Client},
	} {
		e := entry(client)
		e.Subject = s2
		require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
		answer := h2(t, s, request("Bank.example:80", "/api//login?x", program...))
		assert.Equal(t, "403", answer[":status"], name)
		assert.Equal(t, e.ID.String(), answer["x-offpath-refused"], name)
		if s2 != subject("127.0.0.1") {
			assert.Equal(t, "200", h2(t, s, request("a.example", "/", browser...))[":status"], name)
		}
		require.NoError(t, target.Apply(t.Context(), nil, []detect.Subject{e.Subject}))
		assert.Equal(t, "200", h2(t, s, request("Bank.example:80", "/api//login?x", program...))[":status"], name)
	}
	backwards := []string{"Accept-Encoding", "gzip", "Accept-Language", "en_US", "User-Agent", "cracker/2.17 (x)"}
	e := entry(client)
	e.Subject = detect.Subject{Fingerprint: programCore}
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	assert.Equal(t, "200", h2(t, s, request("a.example", "/", backwards...))[":status"], "the order counts")
}

func TestOnlyTheRulesTag(t *testing.T) {
	s := nginxtest.New(t, proxied, nginxtest.Options{})
	s.Configure(strings.Replace(s.Config(), "access_log off;", "access_log off; underscores_in_headers on;", 1))
	s.Up()
	target := s.Target(t)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	e := entry("127.0.0.1")
	e.Action = detect.ActionTag
	check := func(want string) {
		t.Helper()
		for _, name := range []string{"X-Offpath-Verdict", "x-offpath-verdict", "X-OFFPATH-VERDICT"} {
			lines := fmt.Sprintf("GET / HTTP/1.1\r\nHost: a\r\n%s: forged\r\n%s: again\r\n", name, name)
			assert.Equal(t, want, rawAnswer(t, s, lines).Header.Get("Seen-Verdict"), name)
		}
		for _, name := range []string{"X_Offpath_Verdict", "x-Offpath_verdict", "X-Offpath-Other"} {
			answer := rawAnswer(t, s, "GET /echo HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\n"+name+": forged\r\n")
			names := strings.ToLower(answer.Header.Get("Seen-Names"))
			assert.Contains(t, names, "x-kept")
			assert.NotContains(t, strings.ReplaceAll(names, "x-offpath-verdict", ""), "offpath", name)
		}
	}
	check("")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	check(e.ID.String())
}

func TestARefusedRequestsBodyIsNoRequest(t *testing.T) {
	s, target := enforcing(t)
	e := entry("127.0.0.1")
	e.Subject.Endpoint = "POST a/login"
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	reader := bufio.NewReader(conn)
	for _, size := range []int{0, 20, 5000, 300_000} {
		body := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", size/20+1)[:size]
		go fmt.Fprintf(conn, "POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, body)
		answer, err := http.ReadResponse(reader, nil)
		require.NoError(t, err, "%d octets", size)
		io.Copy(io.Discard, answer.Body)
		assert.Equal(t, 403, answer.StatusCode)
		_, err = io.WriteString(conn, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err)
		answer, err = http.ReadResponse(reader, nil)
		require.NoError(t, err, "after %d octets", size)
		io.Copy(io.Discard, answer.Body)
		assert.Equal(t, 200, answer.StatusCode, "after %d octets", size)
	}
	assert.EqualValues(t, 4, s.Backend().Served())
}

func TestNoRequestCostsAWorkerMuch(t *testing.T) {
	s, target := enforcing(t)
	endpoint, domain := entry(client), entry(client)
	endpoint.Subject = detect.Subject{Fingerprint: programCore, UserAgent: "x", Endpoint: "GET bank.example/api/login"}
	domain.Subject, domain.ID = detect.Subject{Domain: "bank.example"}, domain.ID+1
	network := entry("10.0.0.0/24")
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{endpoint, domain, network}, nil))
	const octets = 8_000 // a line of a request has at most 8,192
	long := func(piece string) string { return strings.Repeat(piece, octets/len(piece)) }
	var forged strings.Builder
	for i := range 900 { // nginx takes a thousand
		fmt.Fprintf(&forged, "x-offpath-%d:\r\n", i)
	}
	for name, text := range map[string]string{
		"a Host with user information": "GET / HTTP/1.1\r\nHost: " + long("a") + "@x\r\n",
		"a Host of at signs":           "GET / HTTP/1.1\r\nHost: " + long("@") + "\r\n",
		"a Host of colons":             "GET / HTTP/1.1\r\nHost: " + long(":") + "\r\n",
		"a Host of brackets":           "GET / HTTP/1.1\r\nHost: " + long("[") + "\r\n",
		"a Host of dots":               "GET / HTTP/1.1\r\nHost: " + long(".") + "\r\n",
		"an authority":                 "GET http://" + long("a") + "@x/ HTTP/1.0\r\n",
		"a path of slashes":            "GET " + long("/") + " HTTP/1.0\r\n",
		"a path of dots":               "GET " + long("/.") + " HTTP/1.0\r\n",
		"a path of steps back":         "GET " + long("/a/..") + " HTTP/1.0\r\n",
		"a path of parameters":         "GET " + long("/;") + " HTTP/1.0\r\n",
		"a path of escapes":            "GET /" + long("%61") + " HTTP/1.0\r\n",
		"a User-Agent of Androids":     "GET / HTTP/1.0\r\nUser-Agent: " + long("Android (") + "\r\n",
		"a User-Agent of digits":       "GET / HTTP/1.0\r\nUser-Agent: " + long("1.") + "\r\n",
		"empty header fields":          "GET / HTTP/1.0\r\n" + strings.Repeat("a:\r\n", 900),
		"header fields that count":     "GET / HTTP/1.0\r\n" + strings.Repeat("accept:\r\n", 900),
		"forged header fields":         "GET / HTTP/1.0\r\n" + strings.Repeat("x-offpath-a:\r\n", 900),
		"many forged header fields":    "GET / HTTP/1.0\r\n" + forged.String(),
		"header fields of spaces":      "GET / HTTP/1.0\r\nAccept-Charset: a" + long(" ") + "a" + "\r\nAccept-Language: " + long("\t") + "\r\n",
		"clients":                      "GET / HTTP/1.0\r\nX-Forwarded-For: " + long("127.0.0.9,") + "\r\nX-Forwarded-For: " + long("127.0.0.9,") + "\r\n",
		"a client of colons":           "GET / HTTP/1.0\r\nX-Forwarded-For: " + long(":") + "\r\n",
		"clients of commas":            "GET / HTTP/1.0\r\nX-Forwarded-For: " + long(",") + "\r\n",
		"clients of quotes":            "GET / HTTP/1.0\r\nX-Forwarded-For: " + long("\",") + "\r\n",
		"languages":                    "GET / HTTP/1.0\r\nAccept-Language: " + long("en-US,=") + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			const n = 20
			before, status := s.CPU(), 0
			for range n {
				status = raw(t, s, text)
			}
			each := (s.CPU() - before) / n
			t.Logf("%s: %v of processor time, %d", name, each, status)
			assert.Less(t, each, 20*time.Millisecond)
		})
	}
}

func TestARefusedRequestsBodyOverHTTP2IsNoTrouble(t *testing.T) {
	s, target := enforcing(t)
	e := entry("127.0.0.1")
	e.Subject.Endpoint = "POST " + strings.Split(s.H2, ":")[0] + "/login"
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{e}, nil))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for _, size := range []int{0, 20, 50_000} {
		answer, err := client.Post("http://"+s.H2+"/login", "text/plain", strings.NewReader(strings.Repeat("x", size)))
		require.NoError(t, err, "%d octets", size)
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		assert.Equal(t, 403, answer.StatusCode)
		assert.Equal(t, "HTTP/2.0", answer.Proto)
		answer, err = client.Get("http://" + s.H2 + "/next")
		require.NoError(t, err)
		answer.Body.Close()
		assert.Equal(t, 200, answer.StatusCode)
	}
}

func TestAModuleThatDoesNotShowHeaderFieldsIsNotGivenOrdersAndMatchesNoProgram(t *testing.T) {
	s := nginxtest.New(t, proxied, nginxtest.Options{})
	path := filepath.Join(s.Dir, "offpath.lua")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	lacking := strings.Replace(string(text), "return C.ngx_http_lua_ffi_req_get_headers_count and", "return C.offpath_no_such_function and", 1)
	require.NotEqual(t, string(text), lacking)
	require.NoError(t, os.WriteFile(path, []byte(lacking), 0o600))
	s.Up()
	target := s.Target(t)
	assert.ErrorIs(t, target.Prepared(t.Context()), nginx.ErrNotPrepared)
	bare, agent, address := entry(client), entry(client), entry(other)
	bare.Subject = detect.Subject{Fingerprint: core("core 1", "", "", "", "", "")}
	agent.Subject = detect.Subject{UserAgent: "x"}
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{bare, agent, address}, nil))
	assert.Equal(t, passed, get(s, client, "/", "User-Agent", "x", "X-Offpath-Verdict", "forged"))
	assert.Equal(t, refused(403, address), get(s, other, "/"))
}

func TestWhomNginxItselfTakesForTheClientIsTheClient(t *testing.T) {
	s := nginxtest.New(t, nginx.Setup{}, nginxtest.Options{Extra: "    set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;"})
	listen := "listen " + strings.TrimPrefix(s.URL, "http://")
	s.Configure(strings.Replace(s.Config(), listen, listen+" proxy_protocol", 1))
	s.Up()
	target := s.Target(t)
	require.NoError(t, target.SetMode(t.Context(), detect.ModeEnforce, false))
	require.NoError(t, target.Apply(t.Context(), []mitigate.Entry{entry("198.51.100.7"), entry("2001:db8::7")}, nil))
	for line, want := range map[string]int{
		"TCP4 198.51.100.7 192.0.2.1 1000 80": 403, "TCP4 198.51.100.8 192.0.2.1 1000 80": 200,
		"TCP6 2001:db8::7 2001:db8::1 1000 80": 403, "TCP6 ::ffff:198.51.100.7 2001:db8::1 1000 80": 403,
	} {
		assert.Equal(t, want, raw(t, s, "PROXY "+line+"\r\nGET / HTTP/1.1\r\nHost: a\r\n"), line)
	}
}
