package content

import (
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

func TestCredentials(t *testing.T) {
	e := newExtractor(t, nil)
	user := e.Hash(KindAccount, []byte("alice"))
	pass := e.Hash(KindPassword, []byte("p@ss word"))
	const form, json = "Content-Type: application/x-www-form-urlencoded\n\n", "Content-Type: application/json\n\n"
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("alice:p@ss word"))
	for _, c := range []struct {
		name, target, rest string
		want               reassembly.Auth
	}{
		{"a form", "/login", form + "username=+Alice+&password=p%40ss+word&remember=1",
			reassembly.Auth{Carrier: "form", UserField: "username", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"a form, the password before the name", "/login", form + "pwd=p%40ss+word&user=alice",
			reassembly.Auth{Carrier: "form", UserField: "user", PasswordField: "pwd", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"a form, the better of two names", "/login", form + "email=x%40y&username=alice&password=p%40ss+word",
			reassembly.Auth{Carrier: "form", UserField: "username", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"a form with nested names", "/login", form + "session%5Busername%5D=alice&session%5Bpassword%5D=p%40ss+word",
			reassembly.Auth{Carrier: "form", UserField: "session[username]", PasswordField: "session[password]", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"two passwords: sign-up or change", "/signup", form + "email=alice&password=p%40ss+word&password_confirm=p%40ss+word",
			reassembly.Auth{Carrier: "form", UserField: "email", PasswordField: "password", PasswordFields: 2, UserHash: user, PasswordHash: pass}},
		{"the same name twice is one field", "/login", form + "user=alice&password=p%40ss+word&password=x",
			reassembly.Auth{Carrier: "form", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user,
				PasswordHash: e.Hash(KindPassword, binary.BigEndian.AppendUint64([]byte("p@ss word\x00"), mix64(fnv64([]byte("x")))))}},
		{"an empty password is one", "/login", form + "user=alice&password=",
			reassembly.Auth{Carrier: "form", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user}},
		{"JSON", "/login", json + `{"userName":"ALICE","password":"p@ss word"}`,
			reassembly.Auth{Carrier: "json", UserField: "userName", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"JSON, deep and escaped", "/login", json + `{"data":[{"attributes":{"ema\u0069l":"al\u0069ce","p\u0061ssword":"p@ss\u0020word"}}]}`,
			reassembly.Auth{Carrier: "json", UserField: "email", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"JSON under the type of a form", "/login", form + `{"user":"alice","password":"p@ss word"}`,
			reassembly.Auth{Carrier: "json", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"JSON without a type", "/login", "\n" + `{"user":"alice","password":"p@ss word"}`,
			reassembly.Auth{Carrier: "json", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"JSON with numbers", "/login", json + `{"customer":4711,"pin":1234}`,
			reassembly.Auth{Carrier: "json", UserField: "customer", PasswordField: "pin", PasswordFields: 1,
				UserHash: e.Hash(KindAccount, []byte("4711")), PasswordHash: e.Hash(KindPassword, []byte("1234"))}},
		{"a weak name beside the password", "/login", json + `{"id":"alice","password":"p@ss word"}`,
			reassembly.Auth{Carrier: "json", UserField: "id", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"a weak name of something else", "/login", json + `{"device":{"name":"phone"},"password":"p@ss word"}`,
			reassembly.Auth{Carrier: "json", PasswordField: "password", PasswordFields: 1, PasswordHash: pass}},
		{"a flag is no password", "/settings", json + `{"user":"alice","password":true}`, reassembly.Auth{}},
		{"an account alone is not taken", "/search", form + "username=alice", reassembly.Auth{}},
		{"JSON cut off behind the password", "/login", json + `{"user":"alice","password":"p@ss word","x":[1,`,
			reassembly.Auth{Carrier: "json", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"the grant that takes a password", "/token", form + "grant_type=password&username=alice&password=p%40ss+word",
			reassembly.Auth{Carrier: "form", UserField: "username", PasswordField: "password", PasswordFields: 1, GrantType: "password", UserHash: user, PasswordHash: pass}},
		{"a refresh", "/token", basic + "\n" + form + "grant_type=refresh_token&refresh_token=r%2F1",
			reassembly.Auth{Carrier: "bearer", GrantType: "refresh_token", SessionPresented: []string{e.Hash(KindToken, []byte("r/1"))}}},
		{"a grant by URN", "/token", form + "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer",
			reassembly.Auth{GrantType: "urn:ietf:params:oauth:grant-type:jwt-bearer"}},
		{"a grant that is no word", "/token", form + "grant_type=alice%40bank", reassembly.Auth{}},
		{"a query", "/login?user=alice&password=p%40ss+word", "",
			reassembly.Auth{Carrier: "query", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
		{"Basic", "/", basic, reassembly.Auth{Carrier: "basic", UserHash: user, PasswordHash: pass}},
		{"Basic in another alphabet and case", "/", "Authorization: bAsIc  " + base64.RawURLEncoding.EncodeToString([]byte("alice:p@ss word")),
			reassembly.Auth{Carrier: "basic", UserHash: user, PasswordHash: pass}},
		{"Basic that is none", "/", "Authorization: Basic !!!", reassembly.Auth{}},
		{"bearer", "/", "Authorization: Bearer abc.def", reassembly.Auth{Carrier: "bearer", SessionPresented: []string{e.Hash(KindToken, []byte("abc.def"))}}},
		{"a token in a field of its own", "/", "X-Auth-Token: abc.def", reassembly.Auth{Carrier: "bearer", SessionPresented: []string{e.Hash(KindToken, []byte("abc.def"))}}},
		{"a token in the query (RFC 6750 section 2.3)", "/?access_token=abc.def", "", reassembly.Auth{Carrier: "bearer", SessionPresented: []string{e.Hash(KindToken, []byte("abc.def"))}}},
		{"session cookies", "/", `Cookie: _ga=GA1.2.1234567890.1704067200; JSESSIONID="0123456789AB"; theme=dark; csrftoken=0123456789abcdefghijklmnop; x=Zk3vQ9pLw8TtR5yU2aBcDe`,
			reassembly.Auth{Carrier: "cookie", SessionPresented: []string{e.Hash(KindToken, []byte("0123456789AB")), e.Hash(KindToken, []byte("Zk3vQ9pLw8TtR5yU2aBcDe"))}}},
		{"at most eight tokens", "/", "Cookie: " + strings.Join([]string{"sid=aaaaaaa1", "sid=aaaaaaa2", "sid=aaaaaaa3", "sid=aaaaaaa4", "sid=aaaaaaa5", "sid=aaaaaaa6", "sid=aaaaaaa7", "sid=aaaaaaa8", "sid=aaaaaaa9"}, ";"),
			reassembly.Auth{Carrier: "cookie", SessionPresented: hashes(e, "aaaaaaa1", "aaaaaaa2", "aaaaaaa3", "aaaaaaa4", "aaaaaaa5", "aaaaaaa6", "aaaaaaa7", "aaaaaaa8")}},
		{"an API key in a field", "/", "X-API-Key: k1", reassembly.Auth{Carrier: "api_key", APIKeyHash: e.Hash(KindAPIKey, []byte("k1"))}},
		{"an API key in the query", "/?api_key=k1", "", reassembly.Auth{Carrier: "api_key", APIKeyHash: e.Hash(KindAPIKey, []byte("k1"))}},
		{"multipart", "/login", "Content-Type: multipart/form-data; boundary=\"xYz\"\n\n" + strings.ReplaceAll("--xYz\nContent-Disposition: form-data; name=\"user\"\n\nalice\n--xYz\n"+
			"Content-Disposition: form-data; name=\"file\"; filename=\"password\"\n\ndata\n--xYz\ncontent-disposition: form-data; name=password\n\np@ss word\n--xYz--\n", "\n", "\r\n"),
			reassembly.Auth{Carrier: "form", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user, PasswordHash: pass}},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, request(e, "POST "+c.target+" HTTP/1.1\nHost: h\n"+c.rest).Auth)
		})
	}
	t.Run("a value that may go on is not hashed", func(t *testing.T) {
		head, body := parse("POST / HTTP/1.1\n" + form + "user=alice&password=p%40ss")
		body.Whole = false
		tx := &reassembly.Transaction{}
		e.Request(tx, head, body)
		assert.Equal(t, reassembly.Auth{Carrier: "form", UserField: "user", PasswordField: "password", PasswordFields: 1, UserHash: user}, tx.Auth)
	})
	t.Run("in cleartext mode values are those of the wire", func(t *testing.T) {
		e := newExtractor(t, func(c *Config) { c.Cleartext = true })
		tx := request(e, "POST / HTTP/1.1\nAuthorization: Bearer abc\n"+form+"user=+Alice&password=p%40ss+word")
		assert.Equal(t, reassembly.Auth{Carrier: "form", UserField: "user", PasswordField: "password", PasswordFields: 1,
			UserHash: " Alice", PasswordHash: "p@ss word", SessionPresented: []string{"abc"}}, tx.Auth)
	})
}

func TestOfSeveralPasswordsNoneHidesAnother(t *testing.T) {
	e := newExtractor(t, nil)
	hash := func(body string) string {
		a := request(e, "POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\n"+body).Auth
		require.NotEmpty(t, a.PasswordHash)
		return a.PasswordHash
	}
	for _, c := range []struct{ name, one, other string }{
		{"a constant before the one that is read", "user=u&passwd=x&password=real1", "user=u&passwd=x&password=real2"},
		{"the same name twice", "user=u&password=x&password=real1", "user=u&password=x&password=real2"},
		{"an empty one first", "user=u&passwd=&password=real1", "user=u&passwd=&password=real2"},
		{"many", "user=u&passwd=x&pwd=x&pass=x&passphrase=x&password=real1", "user=u&passwd=x&pwd=x&pass=x&passphrase=x&password=real2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.NotEqual(t, hash(c.one), hash(c.other))
			assert.Equal(t, hash(c.one), hash(c.one))
		})
	}
	t.Run("a repetition is no other password", func(t *testing.T) {
		assert.Equal(t, hash("user=u&password=p"), hash("user=u&password=p&confirm_password=p"))
	})
}

func hashes(e *Extractor, tokens ...string) (list []string) {
	for _, token := range tokens {
		list = append(list, e.Hash(KindToken, []byte(token)))
	}
	return list
}

func TestSessionsIssued(t *testing.T) {
	e := newExtractor(t, nil)
	const head = "HTTP/1.1 200 OK\nContent-Type: application/json\n"
	for _, c := range []struct {
		name, text    string
		want, cookies []string
		token         bool // one that is no cookie alone
	}{
		{"a session cookie", head + "Set-Cookie: SID=0123456789ab; Path=/; HttpOnly", hashes(e, "0123456789ab"), []string{"SID"}, false},
		{"a cookie of another use is only named", head + "Set-Cookie: theme=dark", nil, []string{"theme"}, false},
		{"a cookie that is removed is not set", head + "Set-Cookie: SID=; Path=/\nSet-Cookie: sess=0123456789; Max-Age=0\nSet-Cookie: auth=deleted1; expires=Thu, 01 Jan 1970 00:00:00 GMT", nil, nil, false},
		{"tokens in JSON at any depth", head + "\n" + `{"data":{"access_token":"ab.c","expires":5,"session":{"refreshToken":"cd\/e"}}}`, hashes(e, "ab.c", "cd/e"), nil, true},
		{"a field", head + "X-Auth-Token: abcd", hashes(e, "abcd"), nil, true},
		{"bearer in the answer", head + "Authorization: Bearer abcd", hashes(e, "abcd"), nil, true},
		{"text that is no token", head + "\n" + `{"token":"not set yet","jwt":null}`, nil, nil, false},
		{"the same token twice is one", head + "Set-Cookie: token=0123456789\n\n" + `{"token":"0123456789"}`, hashes(e, "0123456789"), []string{"token"}, true},
		{"a token beside a cookie of another use", head + "Set-Cookie: device=0011223344; Path=/\n\n" + `{"token":"0123456789"}`, hashes(e, "0123456789"), []string{"device"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx := response(e, c.text)
			assert.Equal(t, c.want, tx.Auth.SessionIssued)
			assert.Equal(t, c.cookies, tx.Response.Signature.Cookies)
			assert.Equal(t, c.token, tx.Auth.TokenIssued)
		})
	}
	t.Run("a token presented later has the hash it was issued with", func(t *testing.T) {
		issued := response(e, head+"\n"+`{"access_token":"eyJ\/x+y="}`).Auth.SessionIssued
		assert.Equal(t, issued, request(e, "GET / HTTP/1.1\nAuthorization: Bearer eyJ/x+y=").Auth.SessionPresented)
		assert.Equal(t, issued, request(e, "GET /?access_token=eyJ%2Fx%2By%3D HTTP/1.1").Auth.SessionPresented)
	})
}

func TestHashesAreStableAndApartByKind(t *testing.T) {
	e := newExtractor(t, nil)
	seen := map[string]bool{}
	for kind := range Kind(kinds) {
		first := e.Hash(kind, []byte("0123456789"))
		assert.Regexp(t, "^[0-9a-f]{16}$", first)
		for range 4 {
			assert.Equal(t, first, e.Hash(kind, []byte("0123456789")), "from the cache or not")
		}
		assert.False(t, seen[first], kind)
		seen[first] = true
	}
	assert.Equal(t, "f0c4efc3329aba42", e.Hash(KindToken, []byte("abc")), "HMAC-SHA-256(HMAC-SHA-256(key, \"offpath token\"), \"abc\")")
	other := newExtractor(t, func(c *Config) { c.Key = []byte("another key of 16 octets") })
	assert.NotEqual(t, e.Hash(KindToken, []byte("abc")), other.Hash(KindToken, []byte("abc")))
	assert.Equal(t, e.Hash(KindAccount, []byte("grüße@bank")), e.Hash(KindAccount, []byte("\u00a0\tGRÜßE@Bank\n")))
	assert.Empty(t, e.Hash(KindToken, nil))
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	_, err := New(Config{Key: []byte("short")})
	assert.EqualError(t, err, "content: hash key of 5 octets: at least 16 are needed")
	_, err = New(Config{Key: testKey, MarkerHeader: "X Y"})
	assert.EqualError(t, err, `content: marker header "X Y" is not a field name`)
	_, err = New(Config{Cleartext: true})
	assert.NoError(t, err, "in cleartext there is nothing to hash")
	assert.Equal(t, 16<<10, (&Config{}).BodyLimit())
	assert.Equal(t, 8<<20, (&Config{DetailBodies: true}).BodyLimit())
}

func FuzzForm(f *testing.F) {
	f.Add("a=b&c=d")
	f.Add("&&=&a&%=%2&%zz=+")
	f.Fuzz(func(t *testing.T, data string) {
		s := formScanner{[]byte(data), true}
		octets, pairs := 0, 0
		for {
			name, val, cut, ok := s.next()
			if !ok {
				break
			}
			require.False(t, cut)
			pairs++
			octets += len(name) + len(val)
		}
		require.LessOrEqual(t, octets+pairs-1, len(data))
		want, err := url.ParseQuery(data)
		if err != nil {
			return // net/url refuses what is escaped wrongly and semicolons
		}
		got := url.Values{}
		s = formScanner{[]byte(data), true}
		for {
			name, val, _, ok := s.next()
			if !ok {
				break
			}
			n := string(appendUnescaped(nil, name))
			got[n] = append(got[n], string(appendUnescaped(nil, val)))
		}
		require.Equal(t, want, got)
	})
}

func TestASessionCookieIsTheSameEachTime(t *testing.T) {
	e := newExtractor(t, nil)
	const name = "a name that is longer than what is remembered of one: session"
	for range 3 {
		for _, cookie := range []string{"sid=0123456789ab", "sid=0123456789ab; theme=dark", "theme=dark; " + name + "=0123456789ab"} {
			tx := request(e, "GET / HTTP/1.1\nCookie: "+cookie+"\n\n")
			assert.Equal(t, reassembly.Auth{Carrier: "cookie", SessionPresented: hashes(e, "0123456789ab")}, tx.Auth, cookie)
		}
		tx := request(e, "GET / HTTP/1.1\nCookie: sid=0123456789ab; auth=ba9876543210\n\n")
		assert.Equal(t, hashes(e, "0123456789ab", "ba9876543210"), tx.Auth.SessionPresented)
		tx = request(e, "GET / HTTP/1.1\nCookie: theme=0123456789ab\n\n")
		assert.Equal(t, reassembly.Auth{}, tx.Auth)
	}
}

func FuzzCookie(f *testing.F) {
	f.Add(`a=b; c="d";e`)
	f.Add("=;;==\"; Max-Age=-1; expires=x1970")
	f.Fuzz(func(t *testing.T, field string) {
		octets := 0
		var table cookieTable
		for rest := []byte(field); len(rest) > 0; {
			before := len(rest)
			var name, val []byte
			name, val, rest = nextCookie(rest)
			require.Less(t, len(rest), before)
			require.NotContains(t, string(name), ";")
			octets += len(name) + len(val)
			said := table.look(name)
			require.Equal(t, cookieNameOf(name), said)
		}
		require.LessOrEqual(t, octets, len(field))
		setCookie([]byte(field))
	})
}

func FuzzMessages(f *testing.F) {
	f.Add("application/json", "gzip", `{"password":"x"}`, "/?a=b", "Basic YTpi")
	f.Add("multipart/form-data; boundary=x", "", "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--", "*", "Bearer x")
	f.Add("", "deflate", "user=a&password=b", "", "Basic =")
	f.Add("text/html", "zstd", "\x28\xb5\x2f\xfd", "http://", " ")
	e := newExtractor(f, func(c *Config) { c.DetailHeaders, c.DetailBodies = true, true })
	f.Fuzz(func(t *testing.T, contentType, encoding, body, target, auth string) {
		head := &message.Head{Method: []byte("POST"), Target: []byte(target), Status: 403}
		for _, f := range [][2]string{
			{"Content-Type", contentType}, {"Content-Encoding", encoding}, {"Authorization", auth}, {"Cookie", auth},
			{"Set-Cookie", auth}, {"Location", target}, {"X-Offpath-Refused", auth},
		} {
			head.Fields = append(head.Fields, message.Field{Name: []byte(f[0]), Value: []byte(f[1])})
		}
		var first reassembly.Transaction
		for i := range 3 { // by the third time everything is interned
			var tx reassembly.Transaction
			b := message.Body{Prefix: []byte(body), Bytes: int64(len(body)), Whole: len(target)%2 == 0}
			e.Request(&tx, head, b)
			e.Response(&tx, head, b)
			require.LessOrEqual(t, len(tx.Auth.SessionPresented), maxSessionTokens)
			require.LessOrEqual(t, len(tx.Auth.SessionIssued), maxSessionTokens)
			require.LessOrEqual(t, len(tx.Response.Signature.Code), maxCode)
			if i == 0 {
				first = tx
			}
			require.Equal(t, first, tx)
		}
	})
}
