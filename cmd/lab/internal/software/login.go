package software

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"offpath/cmd/lab/internal/bank"
)

// Outcome is what a client sees of a login or of another request.
type Outcome int

// The outcomes.
const (
	Rejected Outcome = iota // the credentials are wrong
	Accepted
	Refused // 403 or 429: not by the bank, which answers neither
	Broken  // anything else
)

// Session is what a login gave.
type Session struct{ Bearer, Cookie string }

// Login logs in by the software's channel.
func (c *Client) Login(ctx context.Context, user, password, claimed string) (Outcome, Session, error) {
	r := loginRequest(c.Software.Channel, user, password)
	r.ClaimedForwardedFor = claimed
	response, err := c.Do(ctx, r)
	if err != nil {
		return Broken, Session{}, err
	}
	outcome, session := loginOutcome(c.Software.Channel, response)
	return outcome, session, nil
}

func loginRequest(channel bank.Channel, user, password string) Request {
	switch channel {
	case bank.Web:
		form := url.Values{"username": {user}, "password": {password}}
		return Request{Method: http.MethodPost, Path: "/login", ContentType: "application/x-www-form-urlencoded", Body: form.Encode()}
	case bank.OFX:
		return Request{Method: http.MethodPost, Path: "/ofx", ContentType: "application/x-ofx", Body: bank.OFXSignon(user, password, "0")}
	}
	return Request{Method: http.MethodPost, Path: "/api/v2/mobile/login", ContentType: "application/json; charset=utf-8",
		Body: fmt.Sprintf(`{"username":%q,"password":%q,"device":{"id":"%x","os":"mobile"}}`, user, password, len(user)*7919)}
}

func loginOutcome(channel bank.Channel, r *Response) (Outcome, Session) {
	if outcome := r.Outcome(); outcome == Refused {
		return Refused, Session{}
	}
	switch {
	case channel == bank.Mobile && r.Status == http.StatusUnauthorized:
		return Rejected, Session{}
	case channel == bank.Mobile && r.Status == http.StatusOK:
		var reply struct{ Token string }
		if json.Unmarshal(r.Body, &reply) == nil && reply.Token != "" {
			return Accepted, Session{Bearer: reply.Token}
		}
	case channel == bank.Web && r.Status == http.StatusFound:
		if strings.HasPrefix(r.Header.Get("Location"), "/login") {
			return Rejected, Session{}
		}
		cookie, _, _ := strings.Cut(r.Header.Get("Set-Cookie"), ";")
		return Accepted, Session{Cookie: cookie}
	case channel == bank.OFX && r.Status == http.StatusOK:
		if strings.Contains(string(r.Body), "<CODE>15500") {
			return Rejected, Session{}
		}
		return Accepted, Session{}
	}
	return Broken, Session{}
}

// Outcome is what a response other than to a login means: accepted, refused or
// broken.
func (r *Response) Outcome() Outcome {
	switch {
	case r.Status == http.StatusForbidden || r.Status == http.StatusTooManyRequests:
		return Refused
	case r.Status < 400:
		return Accepted
	}
	return Broken
}
