package bank

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBankSaysOfALoginWhatItsChannelSays(t *testing.T) {
	directory := Directory{Customers: 200}
	anna := directory.Customer(48)
	form := func(user, password string) string {
		return url.Values{"username": {user}, "password": {password}}.Encode()
	}
	for _, test := range []struct {
		name, path, media, body string
		status                  int
		location, holds         string
	}{
		{"the app gets a token for the right password", "/api/v2/mobile/login", "application/json",
			`{"username":"` + anna.User + `","password":"` + anna.Password + `"}`, 200, "", `"token":"`},
		{"the app gets 401 and a code for a wrong password", "/api/v2/mobile/login", "application/json",
			`{"username":"` + anna.User + `","password":"no"}`, 401, "", `"code":"AUTH-1001"`},
		{"the app gets the same for a customer that does not exist", "/api/v2/mobile/login", "application/json",
			`{"username":"nobody","password":"no"}`, 401, "", `"code":"AUTH-1001"`},
		{"the browser is sent to its account for the right password", "/login", "application/x-www-form-urlencoded",
			form(anna.User, anna.Password), 302, "/account", ""},
		{"the browser is sent back to the form for a wrong password", "/login", "application/x-www-form-urlencoded",
			form(anna.User, "no"), 302, "/login?error=1", ""},
		{"OFX says 0 and gives the balance for the right password", "/ofx", "application/x-ofx",
			OFXSignon(anna.User, anna.Password, "0"), 200, "", "<BALAMT>48.48"},
		{"OFX says 15500 with status 200 for a wrong password", "/ofx", "application/x-ofx",
			OFXSignon(anna.User, "no", "0"), 200, "", "<CODE>15500"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := New(directory)
			w := post(b, test.path, test.media, test.body)
			assert.Equal(t, test.status, w.Code)
			assert.Equal(t, test.location, w.Header().Get("Location"))
			assert.Contains(t, w.Body.String(), test.holds)
			assert.Equal(t, int64(1), b.Counts().Logins(Mobile, Web, OFX))
			assert.Equal(t, int64(1), b.Counts().Requests)
		})
	}
}

func post(b *Bank, path, media, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", media)
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

func TestASessionOpensItsCustomersPagesAndNothingElseDoes(t *testing.T) {
	directory := Directory{Customers: 200}
	b := New(directory)
	anna := directory.Customer(48)
	w := post(b, "/login", "application/x-www-form-urlencoded", url.Values{"username": {anna.User}, "password": {anna.Password}}.Encode())
	require.Len(t, w.Result().Cookies(), 1)
	for _, test := range []struct {
		name, cookie string
		status       int
	}{
		{"the cookie that was set opens the page", w.Result().Cookies()[0].Value, 200},
		{"a cookie with one letter changed sends to the form", "A" + w.Result().Cookies()[0].Value, 302},
		{"no cookie sends to the form", "", 302},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/account", nil)
			r.AddCookie(&http.Cookie{Name: cookieName, Value: test.cookie})
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			assert.Equal(t, test.status, w.Code)
		})
	}
}

func TestHealthChecksAreNotInTheBooks(t *testing.T) {
	b := New(Directory{Customers: 1})
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health", nil))
	assert.Equal(t, 200, w.Code)
	assert.Zero(t, b.Counts())
}

func TestDirectoryFindsExactlyItsCustomers(t *testing.T) {
	directory := Directory{Customers: 200}
	for index := range 200 {
		c, found := directory.Find(directory.Customer(index).User)
		require.True(t, found)
		require.Equal(t, index, c.Index)
	}
	for _, user := range []string{"", "anna", "anna.00200", "ben.00000", "anna.-0001", "anna.00000x"} {
		_, found := directory.Find(user)
		assert.False(t, found, user)
	}
}
