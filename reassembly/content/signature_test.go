package content

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
)

const jsonHead = "HTTP/1.1 200 OK\nContent-Type: application/json\n\n"

func signatureOf(e *Extractor, body string) reassembly.Signature {
	return response(e, jsonHead+body).Response.Signature
}

func TestMediaKinds(t *testing.T) {
	e := newExtractor(t, nil)
	for _, c := range []struct{ mime, body, media string }{
		{"", "", "none"},
		{"application/json", "", "none"},
		{"application/json; charset=utf-8", "{}", "json"},
		{"application/problem+json", "{}", "json"},
		{"application/x-www-form-urlencoded", "a=b", "form"},
		{"multipart/form-data; boundary=x", "--x--", "multipart"},
		{"application/x-ofx", "OFXHEADER:100", "ofx"},
		{"text/xml", "<a/>", "xml"},
		{"application/soap+xml", "<a/>", "xml"},
		{"TEXT/HTML", "<html>", "html"},
		{"text/plain", "hello", "text"},
		{"application/javascript", "1", "text"},
		{"text/plain", `{"a":1}`, "json"},
		{"image/png", "\x89PNG", "binary"},
		{"", `{"a":1}`, "json"},
		{"", "a=b&c=d", "form"},
		{"", "hello world", ""},
	} {
		tx := request(e, "POST / HTTP/1.1\nContent-Type: "+c.mime+"\n\n"+c.body)
		assert.Equal(t, c.media, tx.Request.Signature.Media, "%s %s", c.mime, c.body)
	}
}

func TestKeysOfABody(t *testing.T) {
	e := newExtractor(t, nil)
	base := signatureOf(e, `{"user":{"id":1,"name":"a"},"items":[{"x":1},{"x":2}]}`)
	require.Regexp(t, "^[0-9a-f]{16}$", base.Keys)
	require.Regexp(t, "^[0-9a-f]{16}$", base.Order)
	for _, c := range []struct {
		name, body       string
		sameSet, sameSeq bool
	}{
		{"other values", `{"user":{"id":7,"name":null},"items":[{"x":"y"}]}`, true, true},
		{"a longer list", `{"user":{"id":1,"name":"a"},"items":[{"x":1},{"x":2},{"x":3},{"x":4}]}`, true, true},
		{"white space and escapes", "{ \"us\\u0065r\" : {\"id\":1,\"name\":\"a\"},\n\"items\":[{\"x\":1}]}", true, true},
		{"another order", `{"items":[{"x":1}],"user":{"name":"a","id":1}}`, true, false},
		{"one key more", `{"user":{"id":1,"name":"a"},"items":[{"x":1}],"more":1}`, false, false},
		{"the same names elsewhere", `{"user":{"id":1},"name":"a","items":[{"x":1}]}`, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := signatureOf(e, c.body)
			assert.Equal(t, c.sameSet, got.Keys == base.Keys)
			assert.Equal(t, c.sameSeq, got.Order == base.Order)
		})
	}
	t.Run("names that are data count as one", func(t *testing.T) {
		assert.Equal(t, signatureOf(e, `{"accounts":{"12345":{"x":1}}}`).Keys, signatureOf(e, `{"accounts":{"98765":{"x":1},"55555":{"x":2},"a@b":{"x":3}}}`).Keys)
	})
	t.Run("a form has the keys of its names", func(t *testing.T) {
		form := func(body string) reassembly.Signature {
			return request(e, "POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\n"+body).Request.Signature
		}
		assert.Equal(t, form("a=1&b=2").Keys, form("b=3&a=&b=4").Keys)
		assert.NotEqual(t, form("a=1&b=2").Order, form("b=3&a=").Order)
		assert.Equal(t, form("a=1&b=2").Keys, signatureOf(e, `{"a":1,"b":2}`).Keys)
	})
	t.Run("without keys there is no hash", func(t *testing.T) {
		assert.Empty(t, signatureOf(e, `[1,2]`).Keys)
	})
	t.Run("keys beyond the bound are left out", func(t *testing.T) {
		var b strings.Builder
		for i := range 2 * maxKeys {
			b.WriteString(`,"k` + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676)) + `":0`)
		}
		assert.NotEmpty(t, signatureOf(e, "{"+b.String()[1:]+"}").Keys)
		assert.Equal(t, maxKeys, e.keys.n)
	})
	t.Run("the hash is the same for ever", func(t *testing.T) {
		got := signatureOf(e, `{"error":"x","code":1}`)
		assert.Equal(t, []string{"json", "930b0193b3ca66aa", "bd60e7a075045fdf"}, []string{got.Media, got.Keys, got.Order})
	})
}

func TestLengthBuckets(t *testing.T) {
	for octets, want := range map[int64]int{reassembly.Unknown: reassembly.Unknown, 0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 1023: 10, 1024: 11} {
		assert.Equal(t, want, lengthBucket(octets), octets)
	}
}

func TestErrorCodes(t *testing.T) {
	e := newExtractor(t, nil)
	for _, c := range []struct{ body, want string }{
		{`{"error":"invalid_grant"}`, "invalid_grant"},
		{`{"status":"fail","code":"AUTH_001"}`, "AUTH_001"},
		{`{"status":401,"errorCode":15500}`, "15500"},
		{`{"error":{"message":"No","code":"E42"}}`, "E42"},
		{`{"exception":"x","error":"InvalidCredentialsException"}`, "InvalidCredentialsException"},
		{`{"success":false}`, "false"},
		{`{"success":true,"status":"ok"}`, "ok"},
		{`{"type":"https://example.com/probs/out-of-credit"}`, "out-of-credit"},
		{`{"error":"User alice not found"}`, ""},
		{`{"code":"483920"}`, ""},
		{`{"code":483920}`, ""},
		{`{"reason":"4111111111111111"}`, ""},
		{`{"reason":"AB12345678"}`, ""},
		{`{"code":"SplxlOBeZQQYbYS6WxSbIA"}`, ""},
		{`{"code":"a8f3k2"}`, ""},
		{`{"error":"alice@bank.example"}`, ""},
		{`{"password":"secret"}`, ""},
		{`{"error":"` + strings.Repeat("x", 41) + `"}`, ""},
		{`{"a":{"b":{"c":{"code":"deep"}}}}`, ""},
		{`{"code":""}`, ""},
		{`{"code":null}`, ""},
	} {
		assert.Equal(t, c.want, signatureOf(e, c.body).Code, c.body)
	}
}

func TestLocation(t *testing.T) {
	e := newExtractor(t, nil)
	for in, want := range map[string]string{
		"/login?error=1":                     "/login",
		"https://bank.example:443/home#top":  "/home",
		"https://bank.example":               "/",
		"//bank.example/x":                   "/x",
		"//bank.example":                     "/",
		"login":                              "login",
		"?error=1":                           "/",
		"/a;jsessionid=x/b":                  "/a;jsessionid=" + e.Hash(KindToken, []byte("x")) + "/b",
		"https://bob:pw@bank.example/home?x": "/home",
	} {
		assert.Equal(t, want, response(e, "HTTP/1.1 302 Found\nLocation: "+in).Response.Signature.Location, in)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ name, status, field, want string }{
		{"sixteen hex digits", "403", "X-Offpath-Refused: 0123456789ABCdef", "0123456789abcdef"},
		{"two decimals", "429", "x-offpath-refused: 4294967295.10", "ffffffff0000000a"},
		{"a deception says what the site would", "200", "X-Offpath-Refused: 0123456789abcdef", "0123456789abcdef"},
		{"too few digits", "403", "X-Offpath-Refused: 0123456789abcde", ""},
		{"no hex digits", "403", "X-Offpath-Refused: 0123456789abcdeg", ""},
		{"a half that is 0", "403", "X-Offpath-Refused: 0000000089abcdef", ""},
		{"a decimal that is 0", "403", "X-Offpath-Refused: 0.1", ""},
		{"a decimal too large", "403", "X-Offpath-Refused: 4294967296.1", ""},
		{"three decimals", "403", "X-Offpath-Refused: 1.2.3", ""},
		{"a sign", "403", "X-Offpath-Refused: -1.2", ""},
		{"nothing", "403", "X-Offpath-Refused:", ""},
		{"another field", "403", "X-Refused: 0123456789abcdef", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, response(newExtractor(t, nil), "HTTP/1.1 "+c.status+" X\n"+c.field).RefusedBy)
		})
	}
	t.Run("the header's name can be chosen", func(t *testing.T) {
		e := newExtractor(t, func(c *Config) { c.MarkerHeader = "X-No" })
		assert.Equal(t, "0000000100000002", response(e, "HTTP/1.1 403 X\nx-no: 1.2").RefusedBy)
	})
}

func TestWithoutResponseOrRequestTheirIntegersAreUnknown(t *testing.T) {
	e := newExtractor(t, nil)
	tx := request(e, "GET / HTTP/1.1")
	assert.EqualValues(t, -1, tx.Response.BodyBytes)
	assert.Equal(t, -1, tx.Response.Signature.Length)
	assert.EqualValues(t, -1, tx.Response.Detail.DecodedBytes)
	assert.EqualValues(t, -1, tx.Request.Detail.DecodedBytes, "not asked for")
	tx = response(e, "HTTP/1.1 204 No Content")
	assert.Equal(t, 204, tx.Response.Status)
	assert.EqualValues(t, 0, tx.Response.BodyBytes)
	assert.EqualValues(t, -1, tx.Request.BodyBytes)
	assert.Equal(t, -1, tx.Request.Signature.Length)
	assert.EqualValues(t, -1, tx.Request.Detail.DecodedBytes)
}

func TestOfAnAnswerToASafeMethodTwoKiBAreLookedAt(t *testing.T) {
	e := newExtractor(t, nil)
	list := `{"items":[` + strings.Repeat(`{"x":1},`, 300)
	answer := func(method, body string) reassembly.Signature {
		tx := request(e, method+" / HTTP/1.1\nHost: a\n\n")
		head, content := parse(jsonHead + body)
		e.Response(tx, head, content)
		return tx.Response.Signature
	}
	short := answer("GET", `{"items":[{"x":1}]}`)
	for _, c := range []struct {
		method, body string
		like         bool
	}{
		{"GET", list + `{"x":1}],"late":1}`, true},
		{"HEAD", list + `{"x":1}],"late":1}`, true},
		{"POST", list + `{"x":1}],"late":1}`, false},
		{"POST", list + `{"x":1}]}`, true},
		{"GET", `{"items":[{"x":1}],"late":1}`, false},
		{"GET", `{"items":[{"x":"` + strings.Repeat("v", safeAnswerLimit) + `"}],"late":1}`, true},
		{"GET", `{"items":[{"x":1}],"` + strings.Repeat("n", safeAnswerLimit) + `":1}`, true},
	} {
		got := answer(c.method, c.body)
		assert.Equal(t, c.like, got.Keys == short.Keys && got.Order == short.Order, "%s %.40s", c.method, c.body)
	}
}

func TestOfAnAnswerToASafeMethodFewerOctetsNeedBeKept(t *testing.T) {
	plain, _ := parse("HTTP/1.1 200 OK\nContent-Type: application/json\n\n")
	coded, _ := parse("HTTP/1.1 200 OK\nContent-Encoding: gzip\n\n")
	for _, c := range []struct {
		config Config
		coded  bool
		octets int
	}{
		{Config{}, false, safeAnswerLimit},
		{Config{}, true, bodyLimit},
		{Config{DetailBodies: true}, false, detailBodyLimit},
	} {
		head := plain
		if c.coded {
			head = coded
		}
		assert.Equal(t, c.octets, c.config.SafeAnswerLimit(head))
	}
}
