package content

import (
	"encoding/base64"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// A token of no use: {"alg":"HS256"}, {"sub":"1"}.
const webTokenText = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"

func TestClassesOfSensitiveData(t *testing.T) {
	const (
		card  = 1 << reassembly.ClassCard
		iban  = 1 << reassembly.ClassIBAN
		aba   = 1 << reassembly.ClassABA
		jwt   = 1 << reassembly.ClassJWT
		ssn   = 1 << reassembly.ClassSSN
		email = 1 << reassembly.ClassEmail
		phone = 1 << reassembly.ClassPhone
	)
	for _, c := range []struct {
		name string
		text string
		want reassembly.ClassSet
	}{
		{"nothing", `{"a":"b","n":12.5e3}`, 0},

		{"a Visa card", `{"pan":"4111111111111111"}`, card},
		{"as a number", `{"pan":4111111111111111}`, card},
		{"a Mastercard of the second range", "card=2223003122003222&x=1", card},
		{"an American Express card", "<n>378282246310005</n>", card},
		{"a Diners Club card", "30569309025904", card},
		{"printed in groups", "Card: 4111 1111 1111 1111.", card},
		{"printed with hyphens", "4111-1111-1111-1111", card},
		{"printed as American Express does", "3782 822463 10005", card},
		{"groups with different separators", "4111 1111-1111 1111", 0},
		{"a wrong check digit", "4111111111111112", 0},
		{"right check digit, no issuer's prefix", "9111111111111111", 0},
		{"of a length that the issuer has not", "41111111111111113", 0},
		{"the fraction of a number", "0.4111111111111111", 0},
		{"a number before a fraction", "4111111111111111.5", 0},
		{"within letters", "x4111111111111111", 0},
		{"a part of an identifier", "4111111111111111-ab", 0},
		{"microseconds since the epoch", `{"ts":1767225600000000}`, 0},
		{"nanoseconds since the epoch", `{"ts":1767225600000000000}`, 0},

		{"an IBAN", `{"iban":"DE89370400440532013000"}`, iban},
		{"an IBAN with letters", "GB82WEST12345698765432,", iban},
		{"an IBAN in groups", "FR14 2004 1010 0505 0001 3M02 606", iban},
		{"an IBAN with wrong check digits", "DE88370400440532013000", 0},
		{"an IBAN cut short", "DE8937040044053201300", 0},
		{"an IBAN in small letters", "de89370400440532013000", 0},
		{"of a country that has none", "US89370400440532013000", 0},

		{"a routing number", `{"routing_number": "021000021"}`, aba},
		{"a routing number in a form", "acct=1&routingNumber=021000021", aba},
		{"a bank in OFX", "<BANKID>021000021<ACCTID>1", aba},
		{"a routing number without its name", `{"id":"021000021"}`, 0},
		{"a routing number with a wrong check digit", `{"routing":"021000022"}`, 0},
		{"a routing number of no district", `{"routing":"991000025"}`, 0},
		{"zeros", `{"routing":"000000000"}`, 0},

		{"a JSON Web Token", "Bearer " + webTokenText, jwt},
		{"two dots that are none", "eyJust.a.sentence", 0},

		{"a social security number", `"219-09-9998"`, ssn},
		{"a social security number by its name", `{"ssn":"536904399"}`, ssn},
		{"nine digits", `{"id":"536904399"}`, 0},
		{"an area that is never given", "666-12-3456", 0},
		{"an area of taxpayers", "912-12-3456", 0},
		{"one of an advertisement", "078-05-1120", 0},
		{"longer than one", "219-09-99981", 0},
		{"within a UUID", "0a1b2c3d-219-09-9998", 0},

		{"an e-mail address", `{"email":"joe.doe+x@mail.example.com"}`, email},
		{"at the end of a sentence", "Write to a@b.example.", email},
		{"a link", `href="MAILTO:a@b.example"`, email},
		{"user and password of a URL", "https://user:pass@host.example/", 0},
		{"a user of a URL", "ssh://git@host.example/", 0},
		{"an image for dense displays", "logo@2x.png", 0},
		{"a package with its version", "react@18.2.0", 0},
		{"no domain", "a@localhost", 0},
		{"no local part", "@b.example", 0},
		{"dots together", "a@b..example", 0},

		{"a telephone number", `{"tel":"+4915112345678"}`, phone},
		{"a telephone number as printed", "+1 (212) 555-0100", phone},
		{"a North American number", "(212) 555-0100", phone},
		{"a North American number with hyphens", `"212-555-0100"`, phone},
		{"the offset of a time", "2026-01-05T12:00:00+0200", 0},
		{"an offset from zero", "+0015112345678", 0},
		{"base64", "abc+4915112345678", 0},
		{"too short", "+491511", 0},
		{"too long", "+4915112345678901", 0},
		{"an area that is none", "112-555-0100", 0},
		{"a date and a number", "2026-01-05", 0},

		{"several", "a@b.example 4111111111111111 " + webTokenText, email | card | jwt},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, classesIn([]byte(c.text)))
			assert.Equal(t, c.want, classesIn([]byte(`{"x":"`+"`}"+c.text+`"}`)), "amid other text")
		})
	}
}

func TestEveryIBANLengthFitsItsCheckDigits(t *testing.T) {
	for country, length := range ibanLengths {
		for check := range 98 {
			text := string(country[:]) + string([]byte{byte('0' + check/10), byte('0' + check%10)}) + strings.Repeat("1", length-4)
			assert.Equal(t, slowIBAN(text), isIBAN([]byte(text), 0, len(text)), text)
		}
	}
}

func TestWhereSensitiveDataStands(t *testing.T) {
	extract := func(on bool) *reassembly.Transaction {
		e, err := New(Config{Key: []byte(strings.Repeat("k", MinKey)), Sensitive: on})
		require.NoError(t, err)
		body := func(text string, whole bool) message.Body {
			return message.Body{Prefix: []byte(text), Bytes: int64(len(text)), Whole: whole}
		}
		tx := &reassembly.Transaction{}
		e.Request(tx, &message.Head{Version: "1.1", Method: []byte("POST"), Target: []byte("/u/a%40b.example?tel=%2B4915112345678"), Fields: []message.Field{
			{Name: []byte("Authorization"), Value: []byte("Bearer " + webTokenText)},
			{Name: []byte("Content-Type"), Value: []byte("application/x-www-form-urlencoded")},
		}}, body("card=4111+1111+1111+1111&x=1", true))
		e.Response(tx, &message.Head{Version: "1.1", Status: 200, Fields: []message.Field{
			{Name: []byte("X-Account"), Value: []byte("DE89370400440532013000")},
			{Name: []byte("Content-Type"), Value: []byte("application/json")},
		}}, body(`{"a":"219-09-9998","mail":"a@b.example`, false))
		return tx
	}
	assert.Equal(t, []string{"request.header.jwt", "request.target.email", "request.target.phone", "request.body.card", "response.header.iban", "response.body.ssn"},
		extract(true).Sensitive.Names(), "what the body is cut in may be something else")
	off := extract(false)
	assert.Zero(t, off.Sensitive)
	on := extract(true)
	on.Sensitive = 0
	assert.Equal(t, off, on, "nothing else depends on it")
}

func TestPicturesAreNotLookedThrough(t *testing.T) {
	e, err := New(Config{Key: []byte(strings.Repeat("k", MinKey)), Sensitive: true})
	require.NoError(t, err)
	tx := &reassembly.Transaction{}
	e.Response(tx, &message.Head{Version: "1.1", Status: 200, Fields: []message.Field{{Name: []byte("Content-Type"), Value: []byte("image/png")}}},
		message.Body{Prefix: []byte("\x89PNG a@b.example"), Bytes: 16, Whole: true})
	assert.Equal(t, reassembly.SensitiveLooked, tx.Sensitive)
}

func TestLookingForSensitiveDataAllocatesNothing(t *testing.T) {
	text := []byte(strings.Repeat(`{"routing":"021000021","iban":"FR14 2004 1010 0505 0001 3M02 606","c":"4111 1111 1111 1111","e":"a@b.example","t":"+4915112345678","s":"219-09-9998"}`, 20))
	assert.Zero(t, testing.AllocsPerRun(100, func() { classesIn(text) }))
}

func BenchmarkClassesIn(b *testing.B) {
	for name, text := range map[string]string{
		"json":      strings.Repeat(`{"id":123456,"name":"Some Body","created":"2026-01-05T12:00:00Z","amount":"12.50","tags":["a","b"],"ref":"550e8400-e29b-41d4-a716-446655440000"},`, 14),
		"worst":     strings.Repeat("a@", 1000),
		"all plus":  strings.Repeat("+4 ", 700),
		"grouped":   strings.Repeat("4111 1111 1111 1112 ", 100),
		"sensitive": strings.Repeat(`{"e":"a@b.example","c":"4111111111111111"},`, 46),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			data := []byte(text)
			for b.Loop() {
				classesIn(data)
			}
		})
	}
}

var slow = map[reassembly.Class]func(string) bool{
	reassembly.ClassCard: func(s string) bool {
		for _, m := range windows(regexp.MustCompile(`[^0-9 -]+`).Split(s, -1)) {
			if luhn(m) {
				return true
			}
		}
		return false
	},
	reassembly.ClassIBAN: func(s string) bool {
		s = strings.ReplaceAll(s, " ", "")
		for i := range s {
			for n := 15; n <= 34 && i+n <= len(s); n++ {
				if slowIBAN(s[i : i+n]) {
					return true
				}
			}
		}
		return false
	},
	reassembly.ClassABA: func(s string) bool { return regexp.MustCompile(`[0-9]{9}`).MatchString(s) },
	reassembly.ClassJWT: func(s string) bool {
		for _, m := range regexp.MustCompile(`eyJ[A-Za-z0-9_-]*\.`).FindAllString(s, -1) {
			if _, err := base64.RawURLEncoding.DecodeString(m[:len(m)-1]); err == nil {
				return true
			}
		}
		return strings.Contains(s, "eyJ") && strings.Count(s, ".") >= 2
	},
	reassembly.ClassSSN: func(s string) bool { return regexp.MustCompile(`[0-8]\d\d-\d\d-\d{4}|\d{9}`).MatchString(s) },
	reassembly.ClassEmail: func(s string) bool {
		return regexp.MustCompile(`[A-Za-z0-9]@[A-Za-z0-9.-]+\.[A-Za-z]{2}`).MatchString(s)
	},
	reassembly.ClassPhone: func(s string) bool {
		return regexp.MustCompile(`\+[1-9](?:[ .()-]{0,2}\d){7}|[2-9]\d\d(?:\) |[-.])[2-9]\d\d[-.]\d{4}`).MatchString(s)
	},
}

// windows are runs of 14 to 16 digits, whatever stands between these.
func windows(texts []string) (list []string) {
	for _, s := range texts {
		s = strings.NewReplacer(" ", "", "-", "").Replace(s)
		for n := 14; n <= 16; n++ {
			for i := 0; i+n <= len(s); i++ {
				list = append(list, s[i:i+n])
			}
		}
	}
	return list
}

func luhn(s string) bool {
	sum := 0
	for i := range s {
		d, _ := strconv.Atoi(s[len(s)-1-i : len(s)-i])
		if i%2 == 1 {
			d = d*2/10 + d*2%10
		}
		sum += d
	}
	return sum%10 == 0
}

// slowIBAN does what ISO 7064 says with a number of any length.
func slowIBAN(s string) bool {
	if len(s) < 5 || !regexp.MustCompile(`^[A-Z]{2}\d\d[A-Z0-9]+$`).MatchString(s) {
		return false
	}
	digits := ""
	for _, c := range s[4:] + s[:4] {
		if c >= 'A' {
			digits += strconv.Itoa(int(c-'A') + 10)
		} else {
			digits += string(c)
		}
	}
	n, _ := new(big.Int).SetString(digits, 10)
	return n.Mod(n, big.NewInt(97)).Int64() == 1
}

func FuzzClassesIn(f *testing.F) {
	for _, seed := range []string{
		"4111 1111 1111 1111", "378282246310005", "DE89370400440532013000", "FR14 2004 1010 0505 0001 3M02 606", "routing:021000021", webTokenText,
		"219-09-9998", "ssn=536904399", "a@b.example", "+1 (212) 555-0100", "(212) 555-0100", "212-555-0100",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set := classesIn(text)
		for class, holds := range slow {
			if set&class.Of() != 0 && !holds(string(text)) {
				t.Fatalf("class %d in %q", class, text)
			}
		}
		if with := classesIn([]byte("<" + string(text) + ">")); set&^with != 0 && !strings.Contains(string(text), "@") {
			t.Fatalf("%b in %q, %b between other octets", set, text, with)
		}
	})
}
