package rest

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate"
)

func TestAnAddressIsASchemeAndAHost(t *testing.T) {
	for _, good := range []string{"https://api.example", "https://api.example:8443/", "http://127.0.0.1:5555", "http://[::1]:5555"} {
		assert.Empty(t, CheckAddress(good, true), good)
		assert.Empty(t, CheckAddress(good, false), good)
	}
	for _, bad := range []string{"", "api.example", "ftp://api.example", "https://", "https://u:p@api.example", "https://api.example/v3", "https://api.example?x", "https://api.example#x", "https://%zz"} {
		assert.Equal(t, "is not https://HOST or https://HOST:PORT", CheckAddress(bad, true), bad)
		assert.Equal(t, "is not http://HOST:PORT or https://HOST:PORT", CheckAddress(bad, false), bad)
	}
	assert.Equal(t, "would show the password to the network", CheckAddress("http://192.0.2.1", true))
	assert.Equal(t, "would show the password to the network", CheckAddress("http://localhost", true), "a name may lead anywhere")
	assert.Empty(t, CheckAddress("http://192.0.2.1", false))
}

func TestTheServerHasToBeVouchedFor(t *testing.T) {
	server := httptest.NewTLSServer(http.RedirectHandler("/elsewhere", http.StatusFound))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	s := &Server{Address: server.URL + "/", CA: ca}
	_, err := s.Client()
	assert.ErrorContains(t, err, "read ca: ")
	require.NoError(t, os.WriteFile(ca, []byte("none"), 0o600))
	_, err = s.Client()
	assert.ErrorContains(t, err, "holds no certificate in PEM")

	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	client, err := s.Client()
	require.NoError(t, err, "the file is looked at until it is right")
	answer, err := client.Get(s.URL("/path"))
	require.NoError(t, err)
	answer.Body.Close()
	assert.Equal(t, http.StatusFound, answer.StatusCode, "redirects are not followed")

	stranger, err := (&Server{Address: server.URL}).Client()
	require.NoError(t, err)
	_, err = stranger.Get(server.URL)
	assert.ErrorContains(t, err, "certificate")

	a, ok := s.Addr()
	assert.True(t, ok)
	assert.Equal(t, netip.MustParseAddr("127.0.0.1"), a)
	_, ok = (&Server{Address: "https://api.example"}).Addr()
	assert.False(t, ok)
}

func TestAnAnswerIsReadWholeOrNotAtAll(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			w.Header().Set("Content-Length", "9")
		}
		w.WriteHeader(http.StatusTeapot)
		w.Write([]byte("12345678"))
	}))
	defer server.Close()
	s := &Server{Address: server.URL}
	ask := func(path string, most int64) (*http.Response, []byte, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL(path), nil)
		require.NoError(t, err)
		return s.Do(request, most)
	}
	response, body, err := ask("/whole", 8)
	require.NoError(t, err)
	assert.Equal(t, http.StatusTeapot, response.StatusCode)
	assert.Equal(t, "12345678", string(body))
	_, _, err = ask("/long", 7)
	assert.ErrorContains(t, err, "GET /long: answer is longer than 7 octets")
	_, _, err = ask("/broken", 99)
	assert.ErrorIs(t, err, mitigate.ErrIncomplete)
}
