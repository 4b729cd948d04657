package bank

import (
	"fmt"
	"net/http"
)

// WrongLogin and Welcome are what the site's pages say after a login.
const (
	WrongLogin = "User name or password is wrong."
	Welcome    = "Your accounts"
)

const cookieName = "NBSESSION"

func (b *Bank) home(w http.ResponseWriter, _ *http.Request) {
	page(w, "Bank", `<a href="/login">Log in</a>`)
}

func (b *Bank) loginForm(w http.ResponseWriter, r *http.Request) {
	note := ""
	if r.URL.Query().Has("error") {
		note = `<p class="error">` + WrongLogin + `</p>`
	}
	page(w, "Log in", note+`<form method="post" action="/login"><input name="username"><input name="password" type="password"><button>Log in</button></form>`)
}

func (b *Bank) webLogin(w http.ResponseWriter, r *http.Request) {
	c, ok := b.check(Web, r.PostFormValue("username"), r.PostFormValue("password"))
	if !ok {
		http.Redirect(w, r, "/login?error=1", http.StatusFound)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: b.sessions.issue(c), Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/account", http.StatusFound)
}

// cookie returns the customer of a web request, or sends the browser to the
// form.
func (b *Bank) cookie(w http.ResponseWriter, r *http.Request) (Customer, bool) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		if index, ok := b.sessions.customer(cookie.Value); ok {
			return b.directory.Customer(index), true
		}
	}
	http.Redirect(w, r, "/login", http.StatusFound)
	return Customer{}, false
}

func (b *Bank) accountPage(w http.ResponseWriter, r *http.Request) {
	if c, ok := b.cookie(w, r); ok {
		page(w, Welcome, fmt.Sprintf(`<h1>%s</h1><p>%s: %d.%02d EUR</p><form method="post" action="/transfer"></form>`, Welcome, c.Account, c.Index%9000, c.Index%100))
	}
}

func (b *Bank) webTransfer(w http.ResponseWriter, r *http.Request) {
	if _, ok := b.cookie(w, r); ok {
		http.Redirect(w, r, "/account?done=1", http.StatusFound)
	}
}
