package endpoint

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKeysTemplateWhatIsPlainlyAnIdentifier(t *testing.T) {
	for _, c := range []struct {
		name, method, host, path, operation, want string
	}{
		{"a literal path stays", "POST", "api.bank.example", "/v1/login", "", "POST api.bank.example/v1/login"},
		{"host names have no case", "GET", "API.Bank.example", "/", "", "GET api.bank.example/"},
		{"an empty path is the root", "GET", "a", "", "", "GET a/"},
		{"empty segments do not make another endpoint", "GET", "a", "//v1///login/", "", "GET a/v1/login"},
		{"session parameters are no part of the name", "POST", "a", "/login;jsessionid=8F3A", "", "POST a/login"},
		{"dot segments are resolved", "POST", "a", "/x/./../v1/login/a/b/../%2E%2e/.", "", "POST a/v1/login"},
		{"and lead no higher than the root", "GET", "a", "/../..;x=1/b", "", "GET a/b"},
		{"back from a segment too many", "GET", "a", "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/b/../c", "", "GET a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/c"},
		{"three dots are a word", "GET", "a", "/.../%2e%2e%2e", "", "GET a/.../..."},
		{"what need not be encoded makes no other endpoint", "POST", "a", "/%6Cogin/%73ign%2din", "", "POST a/login/sign-in"},
		{"what has to be stays encoded", "GET", "a", "/a%2Fb/%2525/%zz/%4/%", "", "GET a/a%2Fb/%2525/%zz/%4/%"},
		{"an encoded identifier is one", "GET", "a", "/accounts/%31%30%30%31", "", "GET a/accounts/{id}"},
		{"nothing is decoded twice", "GET", "a", "/%256Cogin", "", "GET a/%256Cogin"},
		{"segments that are none are not counted", "GET", "a", strings.Repeat("/;/.", 300) + "/login", "", "GET a/login"},
		{"the dot of the root is no part of a host's name", "GET", "a.example.", "/", "", "GET a.example/"},
		{"integers", "GET", "a", "/accounts/1001/balance", "", "GET a/accounts/{id}/balance"},
		{"a UUID", "GET", "a", "/x/123e4567-e89b-12d3-a456-426614174000", "", "GET a/x/{id}"},
		{"an object id in hex", "GET", "a", "/x/507f1f77bcf86cd799439011", "", "GET a/x/{id}"},
		{"a random token", "GET", "a", "/x/9aXk2LmQ0pRt7VbN", "", "GET a/x/{id}"},
		{"a date", "GET", "a", "/rates/2026-01-31", "", "GET a/rates/{id}"},
		{"a version is a word", "GET", "a", "/v2/oauth2/token", "", "GET a/v2/oauth2/token"},
		{"a hex word without digits is a word", "GET", "a", "/deadbeef/decade", "", "GET a/deadbeef/decade"},
		{"a long method name is a word", "POST", "a", "/accounts:signInWithPassword2", "", "POST a/accounts:signInWithPassword2"},
		{"a long slug is a word", "GET", "a", "/terms-and-conditions-2024-edition", "", "GET a/terms-and-conditions-2024-edition"},
		{"an operation follows the path", "POST", "a", "/ofx", "SIGNONMSGSRQV1", "POST a/ofx#SIGNONMSGSRQV1"},
		{"the asterisk form", "OPTIONS", "a", "*", "", "OPTIONS a*"},
		{"too long for a word", "GET", "a", "/" + strings.Repeat("x", 65), "", "GET a/{id}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, string(appendKey(nil, c.method, c.host, c.path, c.operation)))
		})
	}
}

func TestKeysAreBoundedWhateverIsSent(t *testing.T) {
	long := strings.Repeat("a", 1<<16)
	deep := strings.Repeat("/abc", 1<<12)
	name := appendKey(nil, long, long, deep, long)
	assert.LessOrEqual(t, len(name), maxMethod+1+maxHost+maxSegments*(maxSegment+1)+len("/{rest}")+1+maxOperation)
	assert.Contains(t, string(name), "/{rest}#")
}

func TestAKeyAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 512)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		buf = appendKey(buf[:0], "GET", "api.bank.example", "/v1/accounts/1001/transactions", "")
	}))
}

func FuzzAppendKey(f *testing.F) {
	f.Add("GET", "a", "/v1/accounts/17;x=1/2026-01-31", "op")
	f.Add("GET", "API.Bank.Example.", "/v1/accounts/17/%2E./9aXk2LmQ0pRt7VbN/.well-known/", "")
	f.Fuzz(func(t *testing.T, method, host, path, operation string) {
		name := appendKey(nil, method, host, path, operation)
		if path != "*" {
			assert.Equal(t, name, appendKey(nil, method, host, path+"/", operation), "a final slash changes nothing")
		}
		assert.LessOrEqual(t, len(name), 2048)
		if plain, ok := appendPlain(nil, path); ok {
			assert.Equal(t, string(appendTemplate(nil, path)), string(plain), "a plain path's template is that of any path")
		}
	})
}

// pathsOf is paths of all shapes, plain ones and others.
func pathsOf(rng *rand.Rand, n int) []string {
	const octets = "/////aexzAFZ0123456789-_.%;:@\x00\x7f\x80\xaf\xff2eE"
	segments := []string{"v1", "accounts", "17", "10000074", "2026-01-31", "9aXk2LmQ0pRt7VbN", "deadbeef1", "..", ".", "%2e", "a;b", "",
		"123e4567-e89b-12d3-a456-426614174000", "signInWithPassword2", strings.Repeat("7", 70)}
	paths := make([]string, n)
	for i := range paths {
		for range rng.IntN(20) {
			if rng.IntN(2) == 0 {
				paths[i] += "/" + segments[rng.IntN(len(segments))]
			} else {
				paths[i] += string(octets[rng.IntN(len(octets))])
			}
		}
	}
	return paths
}

func TestAPlainPathsTemplateIsThatOfAnyPath(t *testing.T) {
	count := 0
	for _, path := range pathsOf(rand.New(rand.NewPCG(1, 2)), 1<<17) {
		if plain, ok := appendPlain(nil, path); ok {
			count++
			require.Equal(t, string(appendTemplate(nil, path)), string(plain), path)
		}
	}
	assert.Greater(t, count, 1<<12)
}

func TestHostsOfEveryLengthAreLowered(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for from := range every {
		s := string(every[from:])
		want := []byte(s)
		for i, c := range want {
			if 'A' <= c && c <= 'Z' {
				want[i] = c - 'A' + 'a'
			}
		}
		require.Equal(t, "x"+string(want), string(appendLower([]byte("x"), s)))
	}
}

func BenchmarkAppendKey(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	paths := make([]string, 1<<14)
	for i := range paths {
		paths[i] = fmt.Sprintf([]string{
			"/api/v2/accounts/%d/transactions", "/api/v2/accounts/%d", "/api/v2/cards/%d/limits", "/api/v2/payments/%08x-e89b-12d3-a456-426614174000", "/api/v2/me",
		}[rng.IntN(5)], 10000000+rng.IntN(1000000))
	}
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		buf = appendKey(buf[:0], "GET", "api.bank.example", paths[i&(len(paths)-1)], "")
		i++
	}
}
