package nginx_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate/internal/nginxtest"
	"offpath/mitigate/nginx"
)

// vector is a request of the sensor's own test vectors, and its fingerprint.
type vector struct {
	Name    string
	Ignore  []string
	Fields  [][2]string
	Version string
	Core    string
}

func TestNginxComputesTheFingerprintsOfTheSensor(t *testing.T) {
	text, err := os.ReadFile("../../reassembly/fingerprint/testdata/fingerprint-vectors.json")
	require.NoError(t, err)
	var vectors []vector
	require.NoError(t, json.Unmarshal(text, &vectors))
	const answer = `    location = /fingerprint { content_by_lua_block { ngx.header["X-Core"] = package.loaded.offpath.fingerprint() ngx.exit(204) } }`
	s := nginxtest.Start(t, nginx.Setup{}, nginxtest.Options{Extra: answer})

	vectors = append(vectors, vector{
		Name: "values at the edge", Version: "1.1",
		Fields: [][2]string{
			{"User-Agent", "Android (Android 9) Android( x) 0123456789abcde 0123456789abcdef 0123456789abcdef-1 1.2._3.x Android)"},
			{"Accept-Language", "de-,fr;q="}, {"Accept-Charset", "UTF-8 , *;\tQ=0.5"}, {"sec-ch-ua", ""},
		},
		Core: core("core 1", "user-agent,accept-language,accept-charset,sec-ch-ua", "", "utf-8,*;q=0.5", "q", "Android (Android) Android( x) #abcde # # #x Android)"),
	}, vector{
		Name: "blanks around values", Version: "1.1",
		Fields: [][2]string{{"User-Agent", "\t x 1 \t "}, {"Accept-Language", " \ten\t"}},
		Core:   core("core 1", "user-agent,accept-language", "", "", "", "x #"),
	}, vector{
		Name: "more than a hundred header fields", Version: "1.1",
		Fields: append(many(300), [2]string{"User-Agent", "late"}, [2]string{"Accept", "*/*"}),
		Core:   core("core 1", "user-agent,accept", "", "", "", "late"),
	}, vector{
		Name: "values of more than 512 octets", Version: "1.1",
		Fields: [][2]string{{"User-Agent", strings.Repeat("x", 510)}, {"User-Agent", "yz"}},
		Core:   core("core 1", "user-agent", "", "", "", strings.Repeat("x", 510)+",y"),
	})
	// What HTTP/2 has not, and what this test says by itself.
	apart := []string{"host", "connection", "content-length", "transfer-encoding", "upgrade", "keep-alive"}
	asked := 0
	for _, v := range vectors {
		if v.Ignore != nil || v.Version == "0.9" {
			continue // the setup has no list of its own, and the version no header fields
		}
		lines := "GET /fingerprint HTTP/1.1\r\nHost: a\r\n"
		fields := [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/fingerprint"}}
		for _, f := range v.Fields {
			if name := strings.ToLower(f[0]); !strings.HasPrefix(name, ":") && !slices.Contains(apart, name) {
				lines += f[0] + ":" + f[1] + "\r\n"
				fields = append(fields, [2]string{name, strings.Trim(f[1], " \t")})
			}
		}
		assert.Equal(t, v.Core, rawAnswer(t, s, lines).Header.Get("X-Core"), v.Name)
		assert.Equal(t, v.Core, h2(t, s, fields)["x-core"], "%s, HTTP/2", v.Name)
		asked++
	}
	assert.Greater(t, asked, 10)
}

func many(n int) (fields [][2]string) {
	for i := range n {
		fields = append(fields, [2]string{fmt.Sprintf("x-%d", i), "1"})
	}
	return fields
}
