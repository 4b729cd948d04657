package attack

import (
	"fmt"
	"math/rand/v2"

	"offpath/cmd/lab/internal/bank"
)

// Pair is a line of the attackers' list.
type Pair struct {
	User, Password string
	Right          bool // it opens an account
}

// right is how many of a hundred pairs are right.
const right = 3

// list gives the stolen pairs: of a hundred, 3 are right, 27 name a customer
// with a password that has been changed, 70 name nobody here.
func list(d bank.Directory, n int) Pair {
	// Each hundred is shuffled in its own way, the same in every run.
	switch place := rand.New(rand.NewPCG(uint64(n/100), 1)).Perm(100)[n%100]; {
	case place < right:
		c := d.Customer(n * 101 % d.Customers)
		return Pair{User: c.User, Password: c.Password, Right: true}
	case place < 30:
		c := d.Customer(n * 103 % d.Customers)
		return Pair{User: c.User, Password: bank.Secret("old", n)}
	}
	return Pair{User: fmt.Sprintf("user%06d@mail.example", n*7919%1000000), Password: bank.Secret("leaked", n)}
}
