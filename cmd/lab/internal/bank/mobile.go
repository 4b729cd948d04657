package bank

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

func (b *Bank) config(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"minimum_version": "5.2.0", "maintenance": false, "features": []string{"transfers", "cards"}})
}

func (b *Bank) mobileLogin(w http.ResponseWriter, r *http.Request) {
	var login struct{ Username, Password string }
	if err := json.NewDecoder(r.Body).Decode(&login); err != nil {
		refuse(w, http.StatusBadRequest, "REQ-1000", "malformed request")
		return
	}
	c, ok := b.check(Mobile, login.Username, login.Password)
	if !ok {
		refuse(w, http.StatusUnauthorized, "AUTH-1001", "User name or password is wrong.")
		return
	}
	reply(w, http.StatusOK, map[string]any{"token": b.sessions.issue(c), "token_type": "Bearer", "expires_in": 900})
}

// bearer returns the customer of a mobile request, or answers it with 401.
func (b *Bank) bearer(w http.ResponseWriter, r *http.Request) (Customer, bool) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	index, ok := b.sessions.customer(token)
	if !ok {
		refuse(w, http.StatusUnauthorized, "AUTH-1010", "Session has ended.")
		return Customer{}, false
	}
	return b.directory.Customer(index), true
}

func (b *Bank) accounts(w http.ResponseWriter, r *http.Request) {
	if c, ok := b.bearer(w, r); ok {
		reply(w, http.StatusOK, map[string]any{"accounts": []map[string]any{
			{"id": c.Account, "type": "current", "currency": "EUR"},
			{"id": c.Account[:len(c.Account)-1] + "9", "type": "savings", "currency": "EUR"},
		}})
	}
}

func (b *Bank) balance(w http.ResponseWriter, r *http.Request) {
	if c, ok := b.bearer(w, r); ok {
		reply(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "balance": fmt.Sprintf("%d.%02d", c.Index%9000, c.Index%100), "currency": "EUR"})
	}
}

func (b *Bank) transfer(w http.ResponseWriter, r *http.Request) {
	c, ok := b.bearer(w, r)
	if !ok {
		return
	}
	var order struct{ To, Amount string }
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil || order.To == "" || order.Amount == "" {
		refuse(w, http.StatusUnprocessableEntity, "PAY-2001", "recipient or amount is missing")
		return
	}
	reply(w, http.StatusCreated, map[string]any{"reference": fmt.Sprintf("T%08d", c.Index), "state": "accepted"})
}
