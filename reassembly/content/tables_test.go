package content

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

func TestANameSaysTheSameWhetherItIsRememberedOrNot(t *testing.T) {
	table := nameTable{make([]nameSlot, nameSlots)}
	rng := rand.New(rand.NewPCG(1, 2))
	list := []string{"", "a", "ab", "aab", "password", "passwort", "access_token", "id", "12345", "a@b", strings.Repeat("x", 300)}
	for range 400 { // many share their ends
		list = append(list, "transaction"+strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(9))+pick(rng, "Identifier", "password", "", "_id"))
	}
	for range 20_000 {
		name := []byte(list[rng.IntN(len(list))])
		want := said{info: classify(name)}
		if !isData(name) {
			want.hash = fnv64(name)
		}
		require.Equal(t, want, table.look(name, endsOf(name)), "%s", name)
	}
}

func pick[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

func TestHeadsAreToldApartByTheirNames(t *testing.T) {
	e := newExtractor(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	long := strings.Repeat("X", 300)
	for range 3 { // by the third time every shape is remembered
		for _, c := range []struct {
			name    string
			fields  string
			headers []string
			domain  string
			client  string
		}{
			{"no fields", "", nil, "", "10.0.0.1"},
			{"one split", "AB: 1\nC: 2", []string{"ab", "c"}, "", "10.0.0.1"},
			{"another split of the same octets", "A: 1\nBC: 2", []string{"a", "bc"}, "", "10.0.0.1"},
			{"a role", "Host: one.example\nX: y", []string{"host", "x"}, "one.example", "10.0.0.1"},
			{"the same role in another case and place", "X: y\nhost: two.example", []string{"x", "host"}, "two.example", "10.0.0.1"},
			{"the first of two in a role", "Host: one.example\nhost: two.example", []string{"host", "host"}, "one.example", "10.0.0.1"},
			{"the last of two in a list", "X-Forwarded-For: 192.0.2.1\nx-forwarded-for: 192.0.2.2", []string{"x-forwarded-for", "x-forwarded-for"}, "", "192.0.2.2"},
			{"a name that is too long to be remembered", "Host: one.example\n" + long + ": y", []string{"host", strings.ToLower(long)}, "one.example", "10.0.0.1"},
		} {
			text := "GET / HTTP/1.1\n" + c.fields
			tx := request(e, text)
			assert.Equal(t, c.headers, tx.Request.Headers, c.name)
			assert.Equal(t, c.domain, tx.Request.Domain, c.name)
			assert.Equal(t, c.client, tx.Client.String(), c.name)
		}
	}
}

func TestAFloodOfFieldsIsRead(t *testing.T) {
	e := newExtractor(t, nil)
	head := &message.Head{Method: []byte("GET"), Target: []byte("/")}
	for range 10_000 {
		head.Fields = append(head.Fields, message.Field{Name: []byte("X"), Value: []byte("y")})
	}
	head.Fields = append(head.Fields, message.Field{Name: []byte("Host"), Value: []byte("h")})
	var tx reassembly.Transaction
	e.Request(&tx, head, message.Body{})
	assert.Equal(t, "h", tx.Request.Domain)
	assert.Len(t, tx.Request.Headers, 10_001)
}

func TestTokensOfOneSetAreRememberedTogether(t *testing.T) {
	h := newHasher(testKey, false)
	for k := range Kind(kinds) {
		for i := range 4 * tokenSets {
			value := []byte{byte(i), byte(i >> 8), byte(k), 'x'}
			want := h.compute(k, value)
			for range 3 {
				require.Equal(t, want, h.cached(k, value))
			}
		}
	}
	token := []byte("a token")
	assert.Nil(t, h.list(token), "not seen yet")
	want := string(h.append(nil, KindToken, token))
	assert.Nil(t, h.list(token), "seen once")
	h.append(nil, KindToken, token)
	assert.Equal(t, []string{want}, h.list(token))
	assert.Nil(t, h.list([]byte(strings.Repeat("x", maxCached+1))))
}
