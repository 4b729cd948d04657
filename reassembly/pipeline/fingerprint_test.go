package pipeline_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly"
	"offpath/reassembly/fingerprint"
	"offpath/reassembly/internal/script"
	"offpath/reassembly/message"
)

const frameWindowUpdate = 8

// softwareFields are what a browser sends, and what the load balancer lets through.
var softwareFields = []string{
	"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0",
	"accept", "application/json",
	"accept-language", "de,en-US;q=0.7,en;q=0.3",
	"accept-encoding", "gzip, deflate, br",
	"sec-fetch-dest", "empty",
	"sec-fetch-mode", "cors",
	"sec-fetch-site", "same-origin",
}

// frontAndBack is a request in HTTP/2, and the same behind a load balancer that
// turns it into HTTP/1.1, drops te, adds three fields, and rewrites one.
func frontAndBack(acceptEncoding string) *script.Script {
	s := script.New()
	client, server := newFramed(true), newFramed(false)
	client.frame(frameSettings, 0, 0, "\x00\x01\x00\x01\x00\x00\x1a\x2a\x00\x00\x00\x07") // another than the first
	client.frame(frameWindowUpdate, 0, 0, "\x00\xbf\x00\x01")
	client.head(1, true, append([]string{":method", "GET", ":scheme", "http", ":authority", "bank.example", ":path", "/front"},
		append(softwareFields, "te", "trailers", "cookie", "a=b")...)...)
	server.head(1, true, ":status", "200")
	c := s.Connection()
	c.Open()
	c.Client(client.said())
	c.Server(server.said())
	c.Close()

	text := "GET /back HTTP/1.1\r\nhost: bank.example\r\n"
	for i := 0; i < len(softwareFields); i += 2 {
		value := softwareFields[i+1]
		if softwareFields[i] == "accept-encoding" {
			value = acceptEncoding
		}
		text += softwareFields[i] + ": " + value + "\r\n"
	}
	c = s.Connection()
	c.Open()
	c.Client(text + "cookie: a=b\r\nx-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: https\r\nx-request-id: 7\r\n\r\n")
	c.Server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
	c.Close()
	return s
}

// legs are the two transactions of frontAndBack.
func legs(t *testing.T, txs []*reassembly.Transaction) (front, back *reassembly.Transaction) {
	t.Helper()
	require.Len(t, txs, 2)
	for _, tx := range txs {
		if tx.Request.Path == "/front" {
			front = tx
		} else {
			back = tx
		}
	}
	require.NotNil(t, front)
	require.NotNil(t, back)
	return front, back
}

func TestFingerprintsOnBothSidesOfALoadBalancer(t *testing.T) {
	var fields []message.Field
	for i := 0; i < len(softwareFields); i += 2 {
		fields = append(fields, message.Field{Name: []byte(softwareFields[i]), Value: []byte(softwareFields[i+1])})
	}
	t.Run("that adds three fields and drops one", func(t *testing.T) {
		txs, _ := run(t, config, frontAndBack("gzip, deflate, br").Packets(), 64)
		front, back := legs(t, txs)
		var names fingerprint.Names
		assert.Equal(t, names.Core(fields), front.Fingerprint)
		assert.Equal(t, names.Core(fields), back.Fingerprint)
		assert.Equal(t, names.Loose(fields), front.FingerprintLoose)
		assert.Equal(t, names.Loose(fields), back.FingerprintLoose)

		sent := func(version string, before, after string) *message.Head {
			head := &message.Head{Version: version}
			for _, name := range strings.Fields(before) {
				head.Fields = append(head.Fields, message.Field{Name: []byte(name)})
			}
			head.Fields = append(head.Fields, fields...)
			if after != "" {
				head.Fields = append(head.Fields, message.Field{Name: []byte(after), Value: []byte("trailers")})
			}
			return head
		}
		asked := sent("2", ":method :scheme :authority :path", "te")
		asked.Window = 0xbf0001 // the first SETTINGS frame was empty
		assert.Equal(t, names.Wire(asked, ""), front.FingerprintWire)
		assert.Equal(t, names.Wire(sent("1.1", "", ""), ""), back.FingerprintWire)
	})
	t.Run("that rewrites one", func(t *testing.T) {
		s := frontAndBack("identity")
		txs, _ := run(t, config, s.Packets(), 64)
		front, back := legs(t, txs)
		assert.NotEqual(t, front.Fingerprint, back.Fingerprint)

		told := config
		told.Content.IgnoreHeaders = []string{"Accept-Encoding"}
		txs, _ = run(t, told, s.Packets(), 64)
		front, back = legs(t, txs)
		assert.Equal(t, front.Fingerprint, back.Fingerprint, "with client.ignore_headers")
		assert.NotEmpty(t, front.Fingerprint)
	})
}

func TestAHeadThatWasNotReadWholeHasNoFingerprint(t *testing.T) {
	long := strings.Repeat("x", 70<<10)
	for name, request := range map[string]string{
		"too large":       "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\nX: " + long + "\r\n\r\n",
		"too many fields": "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n" + strings.Repeat("X: y\r\n", 1000) + "\r\n",
	} {
		for _, early := range []bool{false, true} { // the answer comes before the request's end
			t.Run(name, func(t *testing.T) {
				s := script.New()
				c := s.Connection()
				c.Open()
				if early {
					request = strings.Replace(request, "GET", "POST", 1)
					request = strings.Replace(request, "Host", "Content-Length: 1\r\nHost", 1)
				}
				c.Client(request)
				c.Server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				if early {
					c.Client("x")
				}
				c.Close()
				txs, _ := run(t, config, s.Packets(), 64)
				require.Len(t, txs, 1)
				assert.NotZero(t, txs[0].Anomalies&(reassembly.AnomalyHeadTooLarge|reassembly.AnomalyTooManyHeaders))
				assert.Empty(t, txs[0].Fingerprint)
				assert.Empty(t, txs[0].FingerprintLoose)
				assert.Empty(t, txs[0].FingerprintWire)
			})
		}
	}
}
