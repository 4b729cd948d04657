package content

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/jsonl"
	"offpath/reassembly/message"
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
	requests = append(requests, structured(t)...)
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
	for _, shown := range []string{"Qsecret06", "Qsecret10", "Qsecret14", "Qsecret21", "Qsecret22", "Qsecret25", "Qsecret32", "Qsecret02", "Qsecret08", "Qsecret09", "Qsecret28"} {
		require.Contains(t, clear, shown, "the test looks at the right places")
	}
}

// structured are requests whose secrets stand within structure: under every
// place a secret of its own or one of the others'.
func structured(t *testing.T) []string {
	const graphql = `mutation Login { login(username: "Qsecret01", password: "Qsecret02", otp: \"\"\"Qsecret03\"\"\") { token } }`
	const document = `mutation Login { login(username: "Qsecret01", password: "Qsecret02") { token } }`
	const variables = `{"input":{"username":"Qsecret04","password":"Qsecret05","pin":"Qsecret06"}}`
	json := strings.ReplaceAll(document, `"`, `\"`)
	list := []string{
		"POST /graphql HTTP/1.1\nHost: h\nContent-Type: application/json\n\n" + `{"operationName":"Qsecret07@h","query":"` + json + `","variables":` + variables + `}`,
		"POST /graphql HTTP/1.1\nHost: h\nContent-Type: application/graphql\n\n" + strings.ReplaceAll(graphql, `\"`, `"`),
		"GET /graphql?query=" + url.QueryEscape(document) + "&variables=" + url.QueryEscape(variables) + " HTTP/1.1\nHost: h\nReferer: https://h/?v=" + url.QueryEscape(url.QueryEscape(variables)),
		"GET /graphql?variables=" + strings.ReplaceAll(variables, " ", "") + "&query={login(pin:\"Qsecret08\")} HTTP/1.1\nHost: h",
		`GET /?v={"a":"x&y","password":"Qsecret09"} HTTP/1.1` + "\nHost: h\nX-Context: " + variables + "\nX-More: a; v=" + variables + "; {\"p\\u0069n\":\"Qsecret10\"}",
		"POST /rpc HTTP/1.1\nHost: h\nContent-Type: application/json\n\n" + `{"jsonrpc":"2.0","method":"login Qsecret11","params":{"user":"Qsecret12","password":"Qsecret13"},"id":"Qsecret14"}`,
		"POST /form HTTP/1.1\nHost: h\nContent-Type: multipart/form-data; boundary=b\n\n" + crlf("--b\nContent-Disposition: form-data; name=\"user\"\n\nQsecret15\n--b\nContent-Disposition: form-data; name=\"password\"\n\nQsecret16\n"+
			"--b\nContent-Disposition: form-data; name=\"f\"; filename=\"Qsecret17\"\n\nQsecret18\n--b\nContent-Disposition: form-data; name=\"operations\"\nContent-Type: application/json\n\n"+variables+"\n--b--"),
		"POST /soap HTTP/1.1\nHost: h\nSOAPAction: \"urn:x\"\nContent-Type: text/xml\n\n" + `<s:Envelope><s:Header><wsse:Username>Qsecret20</wsse:Username><wsse:Password>Qsecret21</wsse:Password>` +
			`<wsse:Password2>Qsecret19</wsse:Password2><wsse:Nonce>Qsecret22</wsse:Nonce></s:Header><s:Body><Login user="Qsecret23" pin='Qsecret24'><token>Qsecret25</token></Login></s:Body></s:Envelope>`,
		"POST /rpc HTTP/1.1\nHost: h\nContent-Type: text/xml\n\n<methodCall><methodName>Qsecret26 x</methodName><params><param><value>Qsecret27</value></param><member><name>password</name><value>Qsecret28</value></member></params></methodCall>",
		"POST /ofx HTTP/1.1\nHost: h\nContent-Type: application/x-ofx\n\n" + ofx1 + "<OFX><SIGNONMSGSRQV1><SONRQ><USERID>Qsecret01<USERPASS>Qsecret02<USERKEY>Qsecret03<SESSCOOKIE>Qsecret04<CLIENTUID>Qsecret05<MFACHALLENGEA><MFAPHRASEID>MFA1<MFAPHRASEA>Qsecret06</MFACHALLENGEA>" +
			"<USERCRED1>Qsecret07</SONRQ></SIGNONMSGSRQV1>" + strings.NewReplacer("999988", "Qsecret08", "999977", "Qsecret09", "200.00", "Qsecret10").Replace(transfer) + "<Qsecret11MSGSRQV1.><STATUS><CODE>Qsecret12<CURSYM>Qsecret13</STATUS></OFX>",
	}
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "gzip, br"} {
		list = append(list, "POST /login HTTP/1.1\nHost: h\nContent-Type: application/json\nContent-Encoding: "+coding+"\n\n"+
			string(compressed(t, coding, []byte(`{"username":"Qsecret01","password":"Qsecret02","token":"Qsecret03"}`))))
	}
	return list
}

func TestHeaderFieldsInDetail(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl-_s"
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
		{"Host", "Al:pw@h:80", e.Hash(KindAccount, []byte("al")) + ":" + e.Hash(KindPassword, []byte("pw")) + "@h:80"},
		{"X-Empty", "", ""},
		{"X-Whatever", jwt, token(jwt)},
		{"X-Whatever", "a " + jwt + ", b=" + jwt + ";" + jwt, "a " + token(jwt) + ", b=" + token(jwt) + ";" + token(jwt)},
		{"X-Whatever", "jwt-" + jwt, "jwt-" + token(jwt)},
		{"X-Versions", "eyJhbGciOiJIUzI1NiJ9 e2f1.2.3 example.com.ev eXAmPlEsOfWords.a.b", "eyJhbGciOiJIUzI1NiJ9 e2f1.2.3 example.com.ev eXAmPlEsOfWords.a.b"},
		{"Link", "</verify/" + jwt + ">; rel=next", "</verify/" + token(jwt) + ">; rel=next"},
		{"Set-Cookie", "a=b; Path=/" + jwt, "a=" + token("b") + "; Path=/" + token(jwt)},
		{"X-Encrypted", "ewogImFsZyI6ImRpciJ9..iv.text.tag", token("ewogImFsZyI6ImRpciJ9..iv.text.tag")},
		{"Authorization", "Bearer " + jwt, "Bearer " + token(jwt)},
		{"Sec-WebSocket-Protocol", "graphql-transport-ws, graphql-ws,mqttv3.1, ocpp2.0.1", "graphql-transport-ws, graphql-ws,mqttv3.1, ocpp2.0.1"},
		{"Sec-WebSocket-Protocol", "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(jwt)),
			"v4.channel.k8s.io, base64url.bearer.authorization.k8s.io." + token(jwt)},
		{"sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.!", "base64url.bearer.authorization.k8s.io." + token("!")},
		{"Sec-WebSocket-Protocol", "soap , Bearer , secret,wamp.2.json", "soap , Bearer , " + token("secret") + ",wamp.2.json"},
		{"Sec-WebSocket-Protocol", "access_token, abc", "access_token, " + token("abc")},
		{"Sec-WebSocket-Protocol", "jwt." + jwt, "jwt." + token(jwt)},
		{"Sec-WebSocket-Protocol", jwt + ", chat", token(jwt) + ", chat"},
		{"Sec-WebSocket-Protocol", "bearer.hunter", "bearer." + token("hunter")},
		{"Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.sk-abc, openai-beta.realtime-v1", "realtime, openai-insecure-api-key." + token("sk-abc") + ", openai-beta.realtime-v1"},
		{"Sec-WebSocket-Protocol", "MBWS.huawei.com, 9f86d081884c7d659a2feaa0c55ad015, x.Qm9vZ2llV29vZ2ll", "MBWS.huawei.com, " + token("9f86d081884c7d659a2feaa0c55ad015") + ", x." + token("Qm9vZ2llV29vZ2ll")},
		{"Sec-WebSocket-Protocol", ",, bearer,,a", ",, bearer,," + token("a")},
	} {
		tx := request(e, "GET / HTTP/1.1\n"+c.name+": "+c.value)
		assert.Equal(t, [][2]string{{c.name, c.want}}, tx.Request.Detail.Fields)
	}
}

func FuzzBearer(f *testing.F) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl-_s"
	f.Add("chat, bearer, ", "x")
	f.Add("a.b.", "")
	f.Add("eyJhbGciOiJI.", ".")
	f.Add("", jwt+" "+jwt)
	e := newExtractor(f, nil)
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, name := range []string{"Sec-WebSocket-Protocol", "X-Any"} {
			value := before + " " + jwt + "," + after
			got := string(e.appendField(nil, message.Field{Name: []byte(name), Value: []byte(value)}))
			require.NotContains(t, got, jwt)
			require.LessOrEqual(t, len(got), 17*(len(value)+1))
			list := before + ",bearer," + after
			got = string(e.appendProtocols(nil, []byte(list)))
			require.GreaterOrEqual(t, strings.Count(got, ","), strings.Count(list, ",")-strings.Count(after, ","))
			if after = strings.Trim(after, ", \t"); len(after) > 16 && !strings.Contains(after, ",") && strings.Count(list, after) == 1 {
				require.NotContains(t, got, after)
			}
		}
	})
}
