// Package traffic makes labelled traffic of a bank for the detection benchmark:
// streams of transactions as a sensor would hand them on, in the order of their
// ends, with the truth about each beside it. It shares no code and no number
// with detect. Everything is synthetic.
//
// A [Scenario] says what happens, a seed says how: the same seed gives the same
// stream. Drawn are, evenly unless said otherwise:
//
//	share of honest logins that fail  8, 30, 57 % in turn (see [plans] for of what), wandering by 3 to 12 % of itself
//	login endpoints                   as the scenario says; 30 % of mobile ones answer 200 always, else 200 or 401; one form, one OFX
//	wording                           names of fields, tokens, cookies and codes out of lists; at half of the banks an unknown user is told from a wrong password
//	customers by channel              55 to 90 % apps, 1 to 6 % finance programs, the rest browsers; apps in 5 versions with fields of their own
//	activity                          log-normal over accounts, sigma 0.6 to 1.3; by hour, weekday and payday
//	networks                          households of 10 providers, 0 to 35 % with IPv6; 3 carriers with 64 to 1024 shared addresses; 40 offices
//	place of a visit                  30 to 60 % of app users at a carrier; a quarter work in an office; 1.5 % elsewhere
//	passwords                         1 to 4 % of customers have one of 200 popular ones
//	accounts in doubt                 half of the banks lock after 3 to 6 failures of a visit; 30 % ask 2 to 20 % of app users, and every attacker, for a second factor
//	in front                          half of the banks have load balancers, whose forwarding the sensor believes; 30 % show JA4
//	attack: onset, share, addresses   as the scenario says; 30 % of A1 and A2 change their programs midway
//	attack: addresses' kinds          40 to 100 % of households, the rest data centres (48 /24), carriers, offices; A5, A6 by the ladder
//	attack: endpoints                 80 % of attacks go for apps, of these half for a part of the endpoints, by weight or evenly
//	attack: names                     8 to 12 % exist, A4 and better: all; right passwords 0.1 to 1 %, A4 and better 0.5 to 2 %
//	attack: programs                  A1 1 to 3, A2 1 or 2 with one or two mistakes each, A3 and better 1 to 4 perfect copies
//	attack: money                     is sent from 10 to 50 % of the accounts that were come into
//
// What belongs to an account is computed from its number by hashing, so that a
// million accounts take no memory. What a sensor makes of a request is learned
// once of each kind, from its text, by the real sensor (reassembly/content).
// Hashes are not keyed ones of real names, but as good as.
//
// A [Stream] belongs to one goroutine; its memory grows with the visits under way
// and the kinds of request there are, a few MiB.
//
// It draws no packet loss, no HTTP/2 and no second legs: those are other
// benchmarks'.
package traffic
