// Package f5bigiptest stands in for an F5 BIG-IP: iControl REST as F5's public
// documentation has it, over data groups, and a data plane that runs the iRule, as it is
// printed, in tclsh (Tcl 8.6, less what Tcl 8.4 lacks) on every request, with stand-ins for
// F5's commands that look into these data groups. It has no memory limits of its own, no
// second unit, and no TMM: how fast or how parallel a BIG-IP is does not show.
package f5bigiptest
