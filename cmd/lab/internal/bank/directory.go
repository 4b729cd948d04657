package bank

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
)

// Directory is the bank's list of customers. It holds nothing but their
// number: names, passwords and accounts are computed, so that the bank's
// process and the customers' agree without speaking.
type Directory struct{ Customers int }

// Customer is one of the bank's customers.
type Customer struct {
	Index    int // from 0
	User     string
	Password string
	Account  string // number of the current account
}

var givenNames = []string{
	"anna", "ben", "carla", "david", "elena", "felix", "greta", "hassan", "ida", "jonas", "katja", "liam",
	"mira", "noah", "olga", "paul", "quinn", "rosa", "samir", "tara", "uwe", "vera", "willem", "yara",
}

// Customer returns the customer of an index.
func (d Directory) Customer(index int) Customer {
	return Customer{
		Index: index, User: fmt.Sprintf("%s.%05d", givenNames[index%len(givenNames)], index),
		Password: Secret("customer", index), Account: fmt.Sprintf("DE%020d", 700000000+index*37),
	}
}

// Find returns the customer of a user name.
func (d Directory) Find(user string) (Customer, bool) {
	_, digits, found := strings.Cut(user, ".")
	index, err := strconv.Atoi(digits)
	if !found || err != nil || index < 0 || index >= d.Customers {
		return Customer{}, false
	}
	c := d.Customer(index)
	return c, c.User == user
}

// Check returns the customer whose user name and password are given.
func (d Directory) Check(user, password string) (Customer, bool) {
	c, found := d.Find(user)
	return c, found && c.Password == password
}

// Secret makes a password up: always the same for the same purpose and number.
func Secret(purpose string, number int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", purpose, number))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:6]))[:9] + strconv.Itoa(int(sum[7])%90+10)
}
