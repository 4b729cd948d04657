package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// burst is a stuffing attack of a minute from forty addresses, which begins
// after a minute.
var burst = attack{seed: 1, addresses: 40, from: minute, length: minute, period: second, right: 0.03}

func TestWhoMakesTheLoginFailWithServerErrorsIsBlockedAllTheSame(t *testing.T) {
	b := newBench(t)
	var list []try
	for i, y := range burst.tries() {
		list = append(list, y)
		for k := range 3 { // a body that the application chokes on
			list = append(list, try{at: y.at, client: y.client, account: "x", password: fmt.Sprint(i, k), status: 500})
		}
	}
	b.run(customers(1, 3000, 0, 2*minute, 0.08), list)
	onlyAttackers(t, b)
	assert.Len(t, b.blocked(), 40)
}

func TestOneAccountUnderManySpellingsOfItsPasswordBuysNoFreedom(t *testing.T) {
	b := newBench(t)
	b.run(customers(1, 500, 0, minute, 0.08))
	for k := range 60 { // an application that reads the first eight letters alone
		when := minute + time.Duration(k)*second
		b.try(try{at: when, client: "45.0.0.1", account: "own", password: fmt.Sprint("passw0rd", k), right: true})
		b.try(try{at: when, client: "45.0.0.1", account: fmt.Sprint(k), password: "leaked"})
	}
	assert.Equal(t, []string{"45.0.0.1/32"}, b.blocked())
}
