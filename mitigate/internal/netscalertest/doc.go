// Package netscalertest stands in for a NetScaler (Citrix ADC), after the public reference:
// NITRO over string maps and data sets, with sessions, lists in one body, pages and error
// codes; a command line that takes the commands as they are printed; and a virtual server
// that evaluates the policies of these commands on every request. An expression that the
// reference calls undefined is none that matches. It has no second unit and no packet engine:
// how fast a NetScaler is, or what it makes of an expression that it words otherwise, does not
// show.
package netscalertest
