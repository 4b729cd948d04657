package content

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly"
)

const (
	apiRequest = "GET /api/v1/accounts/1234567/transactions?limit=20&cursor=abc HTTP/1.1\nHost: api.bank.example\nUser-Agent: BankApp/5.2 (iPhone; iOS 17.1)\nAccept: application/json\nAccept-Language: en-GB\nAccept-Encoding: gzip\nAuthorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U\nX-Forwarded-For: 203.0.113.7\nX-Request-ID: 7f4df6a0\nConnection: keep-alive\n\n"

	apiResponse = "HTTP/1.1 200 OK\nContent-Type: application/json; charset=utf-8\nCache-Control: no-store\nDate: Mon, 01 Jan 2024 00:00:00 GMT\nContent-Length: 300\n\n" +
		`{"status":"ok","data":{"items":[{"id":"tx-1","amount":{"value":"12.50","currency":"EUR"},"payee":"Grocer","date":"2024-01-01"},{"id":"tx-2","amount":{"value":"3.20","currency":"EUR"},"payee":"Bakery","date":"2024-01-02"},{"id":"tx-3","amount":{"value":"8.00","currency":"EUR"},"payee":"Cinema","date":"2024-01-03"}],"next":null}}`

	loginRequest = "POST /api/v1/login HTTP/1.1\nHost: api.bank.example\nUser-Agent: BankApp/5.2 (iPhone; iOS 17.1)\nAccept: application/json\nContent-Type: application/json\nX-Forwarded-For: 203.0.113.7\nContent-Length: 60\n\n" +
		`{"username":"alice","password":"correct horse","device":{"id":"d1"}}`

	loginResponse = "HTTP/1.1 401 Unauthorized\nContent-Type: application/json\nContent-Length: 40\n\n" +
		`{"error":"invalid_credentials","code":"AUTH_001"}`
)

func transact(tb testing.TB) (one func(req, res string) func()) {
	e := newExtractor(tb, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	source := netip.MustParseAddrPort("10.0.0.1:40000")
	return func(req, res string) func() {
		reqHead, reqBody := parse(req)
		resHead, resBody := parse(res)
		reqHead.Shape, resHead.Shape = shapes.Find(reqHead.Fields), shapes.Find(resHead.Fields)
		var tx reassembly.Transaction
		return func() {
			tx = reassembly.Transaction{Source: source}
			e.Request(&tx, reqHead, reqBody)
			e.Response(&tx, resHead, resBody)
		}
	}
}

func TestRepeatedTransactionsDoNotAllocate(t *testing.T) {
	one := transact(t)
	for name, texts := range map[string][2]string{
		"an API call with a bearer": {apiRequest, apiResponse},
		"a login":                   {loginRequest, loginResponse},
	} {
		t.Run(name, func(t *testing.T) {
			run := one(texts[0], texts[1])
			run()
			run()
			assert.Zero(t, testing.AllocsPerRun(1000, run))
		})
	}
}

func TestTransactionsOfValuesSeenOnceAllocateLittle(t *testing.T) {
	e := newExtractor(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	for _, c := range []struct{ name, req, res string }{
		{"an API call with another path and bearer each time", apiRequest, apiResponse},
		{"a login of another account each time", loginRequest, loginResponse},
	} {
		t.Run(c.name, func(t *testing.T) {
			reqHead, reqBody := parse(c.req)
			resHead, resBody := parse(c.res)
			letters := func(b []byte, n int) {
				for i := range b {
					b[i] = byte('a' + n%26)
					n /= 26
				}
			}
			n := 0
			one := func() {
				n++
				letters(reqHead.Target[len("/api/v1/"):][:5], n)
				for i := range reqHead.Fields {
					if string(reqHead.Fields[i].Name) == "Authorization" {
						letters(reqHead.Fields[i].Value[len("Bearer "):][:5], n)
					}
				}
				if len(reqBody.Prefix) > 0 {
					letters(reqBody.Prefix[len(`{"username":"`):][:5], n)
				}
				var tx reassembly.Transaction
				tx.Source = netip.MustParseAddrPort("10.0.0.1:40000")
				e.Request(&tx, reqHead, reqBody)
				e.Response(&tx, resHead, resBody)
			}
			one()
			one()
			assert.LessOrEqual(t, testing.AllocsPerRun(1000, one), 4.0)
		})
	}
}

func BenchmarkTransaction(b *testing.B) {
	one := transact(b)
	for _, bench := range []struct{ name, req, res string }{
		{"api call", apiRequest, apiResponse},
		{"login", loginRequest, loginResponse},
	} {
		b.Run(bench.name, func(b *testing.B) {
			run := one(bench.req, bench.res)
			b.SetBytes(int64(len(bench.req) + len(bench.res)))
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
