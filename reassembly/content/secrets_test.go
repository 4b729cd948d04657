package content

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/jsonl"
)

// secrets stand at every place that the messages below have for one.
var secrets = []string{
	"Qsecret01", "Qsecret02", "Qsecret03", "Qsecret04", "Qsecret05", "Qsecret06", "Qsecret07", "Qsecret08", "Qsecret09",
	"Qsecret10", "Qsecret11", "Qsecret12", "Qsecret13", "Qsecret14", "Qsecret15", "Qsecret16", "Qsecret17", "Qsecret18",
	"Qsecret19", "Qsecret20", "Qsecret21", "Qsecret22", "Qsecret23", "Qsecret24", "Qsecret25", "Qsecret26", "Qsecret27",
	"Qsecret28", "Qsecret29", "Qsecret30", "Qsecret31", "Qsecret32", "Qsecret33",
}

func TestNoSecretLeavesTheWorker(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("Qsecret01:Qsecret02"))
	requests := []string{
		"POST http://Qsecret03:Qsecret04@h/a;jsessionid=Qsecret05?token=Qsecret06&x=1&next=%2Fcb%3Fcode%3DQsecret07&username=Qsecret08#id_token=Qsecret09 HTTP/1.1\n" +
			"Host: h\nAuthorization: Basic " + basic + "\nCookie: a=Qsecret10; sid=Qsecret11\nReferer: https://h/cb?access_token=Qsecret12#refresh_token=Qsecret13\n" +
			"X-API-Key: Qsecret14\nX-Auth-Token: Qsecret15\nProxy-Authorization: Bearer Qsecret16\nX-Original-URL: /x?pwd=Qsecret17\nX-Session: Qsecret18\n" +
			"X-CSRF-Token: Qsecret19\nX-Custom: user=Qsecret08, password=Qsecret20\n" +
			"Content-Type: application/x-www-form-urlencoded\n\nuser=Qsecret21&password=Qsecret22&otp=Qsecret23&grant_type=password",
		"POST /login?key=Qsecret24 HTTP/1.1\nHost: h\nAuthorization: Bearer Qsecret25\nContent-Type: application/json\n\n" +
			`{"username":"Qsecret26","nested":{"pin":"Qsecret27","Qsecret28@h":1},"grant_type":"Qsecret29@h"}`,
		"GET / HTTP/1.1\nHost: h\nAuthorization: Qsecret30\nProxy-Authorization: Digest username=\"Qsecret31\"",
	}
	const answer = "HTTP/1.1 403 Forbidden\nContent-Type: application/json\nSet-Cookie: sid=Qsecret32; Path=/\nSet-Cookie: Qsecret33\n" +
		"Location: https://h/cb?code=Qsecret07&x=1#access_token=Qsecret12\n\n" +
		`{"access_token":"Qsecret25","error":"Qsecret26 is locked","code":"Qsecret23-Q1x2","jwt":{"token":"Qsecret15"}}`
	lines := func(change func(*Config)) (all string) {
		e := newExtractor(t, func(c *Config) { c.DetailHeaders, c.DetailBodies = true, true; change(c) })
		for range 3 { // by the third time everything comes out of tables
			for _, text := range requests {
				tx := &reassembly.Transaction{}
				head, body := parse(text)
				e.Request(tx, head, body)
				head, body = parse(answer)
				e.Response(tx, head, body)
				all += string(jsonl.AppendTransaction(nil, tx))
			}
		}
		return all
	}
	hashed := lines(func(*Config) {})
	for _, secret := range append(secrets, basic) {
		at := strings.Index(strings.ToLower(hashed), strings.ToLower(secret))
		assert.Negative(t, at, "%s is in a line", secret)
	}

	clear := lines(func(c *Config) { c.Cleartext = true })
	for _, shown := range []string{"Qsecret06", "Qsecret10", "Qsecret14", "Qsecret21", "Qsecret22", "Qsecret25", "Qsecret32"} {
		require.Contains(t, clear, shown, "the test looks at the right places")
	}
}

func TestHeaderFieldsInDetail(t *testing.T) {
	e := newExtractor(t, func(c *Config) { c.DetailHeaders = true })
	token := func(s string) string { return e.Hash(KindToken, []byte(s)) }
	for _, c := range []struct{ name, value, want string }{
		{"Accept", "*/*", "*/*"},
		{"AUTHORIZATION", "Bearer abc", "Bearer " + token("abc")},
		{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("Al:pw")), "Basic " + e.Hash(KindAccount, []byte("al")) + ":" + e.Hash(KindPassword, []byte("pw"))},
		{"Authorization", "Basic ???", "Basic " + token("???")},
		{"Authorization", "ApiKey k", "ApiKey " + e.Hash(KindAPIKey, []byte("k"))},
		{"Authorization", "abc", token("abc")},
		{"Cookie", `a=1; b="2";c=; d`, "a=" + token("1") + "; b=" + token("2") + ";c=;" + token("d")},
		{"Set-Cookie", "sid=abc; Path=/; HttpOnly", "sid=" + token("abc") + "; Path=/; HttpOnly"},
		{"X-Api-Key", "k", e.Hash(KindAPIKey, []byte("k"))},
		{"X-Access-Token", "t", token("t")},
		{"Location", "/cb?code=abc&x=1", "/cb?code=" + token("abc") + "&x=1"},
		{"Content-Type", "multipart/form-data; boundary=abc", "multipart/form-data; boundary=abc"},
		{"Content-Length", "12345678901234", "12345678901234"},
		{"Cache-Control", "max-age=0, private", "max-age=0, private"},
		{"X-Empty", "", ""},
	} {
		tx := request(e, "GET / HTTP/1.1\n"+c.name+": "+c.value)
		assert.Equal(t, [][2]string{{c.name, c.want}}, tx.Request.Detail.Fields)
	}
}
