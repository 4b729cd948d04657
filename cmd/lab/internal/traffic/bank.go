package traffic

import (
	"fmt"
	"math/rand/v2"
)

// Style is how an endpoint answers a login.
type Style uint8

// The styles; 0 is none that is known.
const (
	StyleStatus Style = 1 + iota // JSON: 200 or 401
	StyleAlways                  // JSON: 200 whatever the password was; a code in the body says it
	StyleForm                    // form: redirects
	StyleOFX                     // OFX: a status code in the body
	Styles                       // number of them, and one
)

func (s Style) String() string {
	return [...]string{"unknown", "JSON with a status", "always 200", "form", "OFX"}[s]
}

// endpoint is a login of the bank with what belongs to it.
type endpoint struct {
	index   int
	host    string
	channel channel
	style   Style
	weight  float64 // among those of its channel
	words   wording

	bootstrap [2]string // paths called before a login
	login     string
	verify    string // of a second factor
	refresh   string
	logout    string
	accounts  string
	transfer  string
}

// wording is what an endpoint calls things.
type wording struct {
	user, password string // names of fields
	token          string // of the session in a JSON answer
	cookie         string // of the session
	code           string // name of the field that holds a code
	ok             string // codes
	wrong          string
	unknown        string // "": the answer to an unknown user is that to a wrong password
	locked         string
	factor         string // a second factor is asked for
	wrongPage      string // where the form leads back to
	home           string // where the form leads on to
}

var (
	userFields     = []string{"username", "user", "login", "email", "customerNumber", "userId"}
	passwordFields = []string{"password", "passwd", "pin", "pwd", "userPassword"}
	tokenFields    = []string{"access_token", "token", "sessionToken", "jwt", "accessToken"}
	cookieNames    = []string{"SESSION", "JSESSIONID", "sid", "bank_session", "SID"}
	codeFields     = []string{"code", "errorCode", "resultCode", "statusCode", "error", "responseCode"}
	okCodes        = []string{"0000", "OK", "SUCCESS", "0", "1000", "S200"}
	wrongCodes     = []string{"invalid_credentials", "AUTH-1001", "E104", "BAD_LOGIN", "4001", "LOGIN_FAILED", "wrong_password"}
	unknownCodes   = []string{"user_not_found", "AUTH-1002", "E105", "NO_SUCH_USER", "4002", "UNKNOWN_CUSTOMER"}
	lockedCodes    = []string{"account_locked", "AUTH-1010", "E110", "4010", "LOCKED"}
	factorCodes    = []string{"mfa_required", "OTP_REQUIRED", "SECOND_FACTOR"}
	apiPrefixes    = []string{"/v1", "/v2", "/api/v1", "/api/v3", "/mobile/v2", "/rest/mobile", "/app"}
	loginPaths     = []string{"/login", "/auth/login", "/session", "/sessions", "/auth/token", "/signin", "/user/login", "/authenticate", "/oauth/token"}
	webLogins      = []string{"/login", "/signin", "/logon", "/account/login", "/auth/login"}
	brands         = []string{"api", "m", "mobile", "business", "private", "junior", "wealth", "direct", "one", "savings"}
)

func newWording(r *rand.Rand) wording {
	w := wording{
		user: pick(r, userFields), password: pick(r, passwordFields), token: pick(r, tokenFields), cookie: pick(r, cookieNames),
		code: pick(r, codeFields), ok: pick(r, okCodes), wrong: pick(r, wrongCodes), locked: pick(r, lockedCodes),
		home: pick(r, []string{"/account", "/overview", "/dashboard", "/accounts"}),
	}
	if r.Float64() < 0.5 {
		w.unknown = pick(r, unknownCodes)
	}
	return w
}

// newEndpoints draws the logins of a bank: mobile ones in number, a web form
// and an OFX service. Half of the banks answer an unknown user otherwise than a
// wrong password.
func newEndpoints(r *rand.Rand, number int, domain string) []*endpoint {
	var list []*endpoint
	words := newWording(r)
	first := r.IntN(len(brands))
	for i := range number {
		prefix := apiPrefixes[(i/len(brands)+r.IntN(2)*3)%len(apiPrefixes)]
		e := &endpoint{style: StyleStatus,
			index: i, channel: mobile, host: brands[(first+i)%len(brands)] + "." + domain,
			login: fmt.Sprintf("%s%s", prefix, pick(r, loginPaths)), words: words, weight: 1 / float64(i+1),
		}
		if i >= len(brands) { // one more application of the brand
			e.login = fmt.Sprintf("%s/%c%s", prefix, 'a'+i/len(brands), pick(r, loginPaths))
		}
		if r.Float64() < 0.3 {
			e.words = newWording(r)
			e.words.unknown = words.unknown
		}
		if r.Float64() < 0.3 {
			e.style = StyleAlways
		}
		e.bootstrap = [2]string{prefix + "/config", prefix + "/device/register"}
		e.verify = prefix + "/otp/verify"
		e.refresh, e.logout, e.accounts, e.transfer = prefix+"/refresh", prefix+"/logout", prefix+"/accounts", prefix+"/transfers"
		list = append(list, e)
	}
	words = newWording(r)
	form := &endpoint{index: number, channel: web, style: StyleForm, host: "www." + domain, weight: 1, words: words, login: pick(r, webLogins)}
	form.words.wrongPage = form.login
	form.bootstrap[0], form.logout, form.accounts, form.transfer = form.login, "/logout", words.home, "/transfer"
	service := &endpoint{index: number + 1, channel: ofx, style: StyleOFX, host: "ofx." + domain, weight: 1, login: pick(r, []string{"/ofx", "/OFXServer/ofxsrvr.dll", "/cmr/ofx"})}
	return append(list, form, service)
}
