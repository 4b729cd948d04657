package content

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

func TestRequestTarget(t *testing.T) {
	for _, c := range []struct {
		name, method, target, host string
		domain, path, query        string
	}{
		{"origin-form", "GET", "/a/b?c=d", "Bank.Example:8080", "bank.example", "/a/b", "c=d"},
		{"origin-form with two slashes is no authority", "GET", "//evil/x", "bank.example", "bank.example", "//evil/x", ""},
		{"absolute-form wins over Host", "GET", "http://Other.Example:80/a?b", "bank.example", "other.example", "/a", "b"},
		{"absolute-form without a path", "GET", "http://other.example?b", "", "other.example", "/", "b"},
		{"absolute-form with IPv6", "GET", "http://[2001:DB8::1]:80/", "", "[2001:db8::1]", "/", ""},
		{"authority-form", "CONNECT", "bank.example:443", "proxy.example", "bank.example", "", ""},
		{"asterisk-form", "OPTIONS", "*", "bank.example", "bank.example", "*", ""},
		{"Host is an IPv6 literal", "GET", "/", "[::1]:80", "[::1]", "/", ""},
		{"Host is an IPv6 literal without its end", "GET", "/", "[::1", "[::1", "/", ""},
		{"Host with user information", "GET", "/", "user@bank.example", "bank.example", "/", ""},
		{"a question mark in the query is its own", "GET", "/a?b?c", "h", "h", "/a", "b?c"},
		{"garbage is a path", "GET", "\xff\xfe", "h", "h", "\xff\xfe", ""},
		{"a path with a URL in it", "GET", "/r/http://x/?a=b", "h", "h", "/r/http://x/", "a=b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx := request(newExtractor(t, nil), c.method+" "+c.target+" HTTP/1.1\nHost: "+c.host)
			r := tx.Request
			assert.Equal(t, []string{c.target, c.domain, c.path, c.query}, []string{r.Target, r.Domain, r.Path, r.Query})
		})
	}
}

func TestValuesUnderCredentialLikeNamesAreHashed(t *testing.T) {
	e := newExtractor(t, nil)
	token := e.Hash(KindToken, []byte("s3cr3t/+="))
	pass := e.Hash(KindPassword, []byte("s3cr3t/+="))
	card := e.Hash(KindCard, []byte("4111111111111111"))
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl-_s"
	web := e.Hash(KindToken, []byte(jwt))
	for _, c := range []struct{ name, in, want string }{
		{"nothing to hide", "/a/b?c=d&page=2", "/a/b?c=d&page=2"},
		{"a token", "/a?token=s3cr3t%2F%2B%3D&b=c", "/a?token=" + token + "&b=c"},
		{"the name in other case and percent-encoded", "/a?Acc%65ss-Token=s3cr3t%2F%2B%3D", "/a?Acc%65ss-Token=" + token},
		{"a password at the end", "/a?x=1&user[password]=s3cr3t%2F%2B%3D", "/a?x=1&user[password]=" + pass},
		{"an empty value stays", "/a?token=&b=c", "/a?token=&b=c"},
		{"a name without a value stays", "/a?token&b=c", "/a?token&b=c"},
		{"an account, whatever its case", "/a?username=Alice", "/a?username=" + e.Hash(KindAccount, []byte("alice"))},
		{"an id stays: it is no account's name", "/a?id=42&name=x", "/a?id=42&name=x"},
		{"a semicolon and a question mark don't end a secret", "/a?pin=12;34?x", "/a?pin=" + e.Hash(KindPassword, []byte("12;34?x"))},
		{"a fragment", "/cb#access_token=s3cr3t%2F%2B%3D&state=1", "/cb#access_token=" + token + "&state=1"},
		{"a path parameter", "/a;jsessionid=s3cr3t/b", "/a;jsessionid=" + e.Hash(KindToken, []byte("s3cr3t")) + "/b"},
		{"user information", "https://bob:pw@bank.example/x", "https://" + e.Hash(KindAccount, []byte("bob")) + ":" + e.Hash(KindPassword, []byte("pw")) + "@bank.example/x"},
		{"a URL inside", "/a?next=/cb?token=s3cr3t%2F%2B%3D", "/a?next=/cb?token=" + token},
		{"a URL inside, percent-encoded", "/a?next=%2Fcb%3Ftoken%3Dabc&z=1", "/a?next=%2Fcb%3Ftoken%3D" + e.Hash(KindToken, []byte("abc")) + "&z=1"},
		{"a URL inside, percent-encoded twice", "/a?next=%252Fcb%253Ftoken%253Dabc", "/a?next=%252Fcb%253Ftoken%253D" + e.Hash(KindToken, []byte("abc"))},
		{"a card number as segment", "/cards/4111111111111111/limits", "/cards/" + card + "/limits"},
		{"a card number as value of anything", "/a?q=4111-1111-1111-1111", "/a?q=" + card},
		{"a long number that is no card's", "/a/4111111111111112?ts=1704067200000", "/a/4111111111111112?ts=1704067200000"},
		{"a JSON Web Token as segment", "/verify/" + jwt + "/x?a=b", "/verify/" + web + "/x?a=b"},
		{"a JSON Web Token under any name", "/verify?state=" + jwt + "&a=" + jwt, "/verify?state=" + web + "&a=" + web},
		{"a JSON Web Token with encoded dots", "/verify/" + strings.ReplaceAll(jwt, ".", "%2E") + "/x", "/verify/" + web + "/x"},
		{"a JSON Web Token encoded twice in a URL inside", "/?next=%2Fcb%3Fs%3D%2565" + strings.ReplaceAll(jwt, ".", "%252E")[1:] + "%26x", "/?next=%2Fcb%3Fs%3D" + web + "%26x"},
		{"dots that are no token's", "/eyewitness.tar.gz?v=eyes.1.2.3", "/eyewitness.tar.gz?v=eyes.1.2.3"},
		{"a query alone", "token=abc", "token=" + e.Hash(KindToken, []byte("abc"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, string(e.appendRedacted(nil, []byte(c.in))))
		})
	}
	t.Run("a JSON Web Token in a target with nothing else to hide", func(t *testing.T) {
		assert.Equal(t, "/"+web+"?v=1.2.3", request(e, "GET /"+jwt+"?v=1.2.3 HTTP/1.1\nHost: h").Request.Target)
		assert.Equal(t, "/?v="+web, request(e, "GET /?v="+jwt+" HTTP/1.1\nHost: h").Request.Target)
		long := strings.Repeat("/a", 10_000)
		assert.Equal(t, long+"/"+web, request(e, "GET "+long+"/"+jwt+" HTTP/1.1\nHost: h").Request.Target)
	})
	t.Run("in cleartext mode all stays", func(t *testing.T) {
		e := newExtractor(t, func(c *Config) { c.Cleartext = true })
		tx := request(e, "GET http://bob:pw@h/4111111111111111?token=a%2Fb HTTP/1.1\nHost: h\nReferer: /x?pin=1")
		assert.Equal(t, "http://bob:pw@h/4111111111111111?token=a%2Fb", tx.Request.Target)
		assert.Equal(t, "/x?pin=1", tx.Request.Referrer)
	})
	t.Run("in referrer and target", func(t *testing.T) {
		tx := request(e, "GET /a?token=abc HTTP/1.1\nHost: h\nReferer: https://h/x?token=abc")
		want := "token=" + e.Hash(KindToken, []byte("abc"))
		assert.Equal(t, want, tx.Request.Query)
		assert.Equal(t, "/a?"+want, tx.Request.Target)
		assert.Equal(t, "https://h/x?"+want, tx.Request.Referrer)
	})
	t.Run("CONNECT with user information", func(t *testing.T) {
		tx := request(e, "CONNECT bob:pw@h:443 HTTP/1.1")
		assert.Equal(t, e.Hash(KindAccount, []byte("bob"))+":"+e.Hash(KindPassword, []byte("pw"))+"@h:443", tx.Request.Target)
		assert.Equal(t, "h", tx.Request.Domain)
		tx = request(e, "CONNECT bob@"+jwt+":443 HTTP/1.1")
		assert.Equal(t, e.Hash(KindAccount, []byte("bob"))+"@"+web+":443", tx.Request.Target)
	})
	t.Run("a secret behind thousands of values that reach over it", func(t *testing.T) {
		target := "/?x=" + strings.Repeat("/a=", 10_000) + "/token=s3cr3t"
		got := request(e, "GET "+target+" HTTP/1.1\nHost: h").Request.Target
		assert.NotContains(t, got, "s3cr3t")
		assert.True(t, strings.HasPrefix(got, "/?x=/a="))
	})
}

func TestNames(t *testing.T) {
	for name, want := range map[string]class{
		"password": classPassword, "Password": classPassword, "user[password]": classPassword, "new-password": classPassword,
		"password_confirmation": classPassword, "ctl00$Main$txtPassword": classPassword, "j_password": classPassword,
		"password[]": classPassword, "pwd": classPassword, "PIN": classPassword, "login:pin": classPassword,
		"remember_password": classSecret, "password_hint": classSecret, "oneTimePassword": classSecret,
		"username": classAccount, "user_name": classAccount, "E-Mail": classAccount, "txtUserName": classAccount, "msisdn": classAccount,
		"id": classWeak, "name": classWeak,
		"api_key": classSecret | classAPIKey, "X-API-Key": classSecret | classAPIKey, "clientSecret": classSecret, "csrf-token": classSecret,
		"access_token": classSecret | classIssued | classSession, "code": classSecret | classCode, "errorCode": classCode,
		"grant_type": classGrant, "amount": 0, "passenger": 0, "keyboard": 0, "": 0, "compass": 0,
	} {
		assert.Equal(t, want, classify([]byte(name)).class, name)
	}
	assert.Equal(t, classPassword, classify([]byte(strings.Repeat("x", 100)+".password")).class, "a long path in front")
}

func TestHeaderNamesAreInWireOrderAndLowerCase(t *testing.T) {
	e := newExtractor(t, nil)
	for range 4 {
		tx := request(e, "GET / HTTP/1.1\nHost: h\nX-B: 1\nACCEPT: */*\nx-b: 2\n:path: /")
		assert.Equal(t, []string{"host", "x-b", "accept", "x-b"}, tx.Request.Headers)
	}
}

func FuzzTarget(f *testing.F) {
	f.Add("GET", "/a?b=c&token=d", "h:80")
	f.Add("CONNECT", "a@b:1", "")
	f.Add("GET", "http://u:p@[::1]:80?x", "[")
	f.Add("GET", "/a/12-34?page=1&size=20&q=a-b&flag", "h")
	f.Add("GET", "/a?4111-1111-1111-1111&password", "h")
	f.Add("GET", "/%253Ftoken%253D%25252525;sid=1/4111111111111111", "\xff")
	e := newExtractor(f, nil)
	f.Fuzz(func(t *testing.T, method, target, host string) {
		var tx reassembly.Transaction
		e.Request(&tx, &message.Head{
			Method: []byte(method), Target: []byte(target), Fields: []message.Field{{Name: []byte("Host"), Value: []byte(host)}},
		}, message.Body{})
		r := tx.Request
		require.NotContains(t, r.Domain, "@")
		if r.Path != "" && r.Query != "" {
			require.Contains(t, r.Target, r.Query)
		}
		// What passes at a quick look passes at the thorough one.
		plain, bare, _ := e.plainTarget([]byte(target))
		if plain {
			require.Equal(t, target, string(e.appendRedacted(nil, []byte(target))))
		}
		if _, query, found := strings.Cut(target, "?"); found && bare {
			var c credentials
			e.keys.reset()
			e.walkForm([]byte(query), true, &c)
			require.Equal(t, credentials{touched: c.touched}, c)
		}
	})
}

func FuzzRedaction(f *testing.F) {
	f.Add("/a?b=c", "d e/f+&=#%")
	f.Add("http://x/;p=1?q=%3F", "secret;?&#")
	f.Add("#a", "4111111111111111")
	e := newExtractor(f, nil)
	f.Fuzz(func(t *testing.T, url_, secret string) {
		// Under a name in the list a value is hashed wherever it is added, or
		// hidden with what stands before it.
		if strings.ContainsAny(url_, "?#") && len(secret) > 0 {
			tail := "&access_token=" + url.QueryEscape(secret) + "&end=1"
			got := e.appendRedacted(nil, []byte(url_+tail))
			want := "&access_token=" + e.Hash(KindToken, []byte(secret)) + "&end=1"
			if !hasOpenSecret(e, url_) && !bytes.HasSuffix(got, []byte(want)) {
				require.NotContains(t, string(got), strings.TrimSuffix(tail, "end=1"), "%q", got)
				require.NotContains(t, string(got), "access_token", "%q", got)
			}
		}
		once := e.appendRedacted(nil, []byte(url_))
		require.LessOrEqual(t, len(once), 17*(len(url_)+1))
	})
}

// hasOpenSecret reports whether what is appended to the URL becomes a part of a
// name or value that is already there.
func hasOpenSecret(e *Extractor, u string) bool {
	authority := strings.Index(u, "//")
	return authority >= 0 && !strings.ContainsAny(u[authority+2:], "/?#") && !strings.ContainsAny(u[:authority], "?#")
}
