#include "go_asm.h"
#include "textflag.h"

// ones<>+32-n(SB) is 32 octets of which the first n are all ones.
DATA ones<>+0(SB)/8, $-1
DATA ones<>+8(SB)/8, $-1
DATA ones<>+16(SB)/8, $-1
DATA ones<>+24(SB)/8, $-1
DATA ones<>+32(SB)/8, $0
DATA ones<>+40(SB)/8, $0
DATA ones<>+48(SB)/8, $0
DATA ones<>+56(SB)/8, $0
GLOBL ones<>(SB), RODATA|NOPTR, $64

DATA marks<>+0(SB)/1, $0x22 // quote
DATA marks<>+1(SB)/1, $0x5c // backslash
GLOBL marks<>(SB), RODATA|NOPTR, $2

// func overStrings(data *byte, size int, edges *edge, ahead *ahead, t *trail, i uint16, at, n, values int) (newAt, newN, newValues int)
TEXT ·overStrings(SB), NOSPLIT, $0-96
	MOVQ    data+0(FP), SI
	MOVQ    size+8(FP), DX
	MOVQ    edges+16(FP), R9
	MOVQ    ahead+24(FP), R8
	MOVQ    t+32(FP), DI
	MOVWLZX i+40(FP), CX
	MOVQ    at+48(FP), R10
	MOVQ    n+56(FP), R12
	MOVQ    values+64(FP), R13
	SUBQ    $(2*const_edgeOctets), DX
	LEAQ    ones<>+32(SB), R15
	VPBROADCASTB marks<>+0(SB), Y14
	VPBROADCASTB marks<>+1(SB), Y15

	// The edge CX may lead on from R10, where the value before it ended. Two windows
	// are loaded, the first at R10 and the second not more than one behind it.
step:
	CMPQ R12, $const_maxTrail
	JGE  out
	CMPQ R10, DX
	JGT  nearEnd

	// The edge leads to a string, and all its octets stand in the first window; R11 is
	// behind them.
windows:
	MOVQ    CX, R14
	SHLQ    $6, R14
	ADDQ    R9, R14
	CMPB    edge_target(R14), $const_toString
	JNE     out
	VMOVDQU (SI)(R10*1), Y0
	VPXOR   edge_octets(R14), Y0, Y0
	MOVBLZX edge_size(R14), BX
	LEAQ    (R10)(BX*1), R11
	NEGQ    BX
	VPTEST  (R15)(BX*1), Y0
	JNZ     out

	// BX is where in the second window the first quote or backslash stands, 32 if none does.
	VMOVDQU   (SI)(R11*1), Y1
	VPCMPEQB  Y14, Y1, Y2
	VPCMPEQB  Y15, Y1, Y3
	VPOR      Y2, Y3, Y2
	VPMOVMSKB Y2, BX
	TZCNTL    BX, BX

	// Strings behind one edge are mostly of one length. The processor guesses that this
	// one is, and is in the next step before it knows. AX holds ahead of the edge, R14
	// its length and then the end of the string, which a quote has to be at.
	MOVL (R8)(CX*4), AX
	MOVL AX, R14
	SHRL $(8*ahead_length), R14
	CMPL BX, R14
	JNE  otherLength

sameLength:
	ADDQ R11, R14
	CMPQ R14, size+8(FP)
	JGE  out
	CMPB (SI)(R14*1), $0x22
	JNE  out

	// The step is taken.
	MOVW CX, trail_edges(DI)(R12*2)
	INCQ R12
	SHLQ $6, CX
	CMPW edge_class(R9)(CX*1), $0
	JNE  value

next:
	MOVWLZX AX, CX
	LEAQ    1(R14), R10
	JMP     step

value:
	MOVQ R13, BX
	SHLQ $4, BX
	ADDQ DI, BX
	MOVL R10, (trail_values+trailValue_from)(BX)
	MOVL R11, (trail_values+trailValue_begin)(BX)
	MOVL R14, (trail_values+trailValue_end)(BX)
	MOVB $const_stringToken, (trail_values+trailValue_token)(BX)
	INCQ R13
	JMP  next

otherLength:
	MOVW BX, ahead_length(R8)(CX*4)
	MOVL BX, R14
	JMP  sameLength

	// Windows may reach behind the data, as what is there changes nothing, but not into
	// another page than one that has an octet of it.
nearEnd:
	CMPQ R10, size+8(FP)
	JGE  out
	LEAQ (SI)(R10*1), BX
	ANDL $4095, BX
	CMPL BX, $(4096-2*const_edgeOctets)
	JLE  windows

out:
	VZEROUPPER
	MOVQ R10, newAt+72(FP)
	MOVQ R12, newN+80(FP)
	MOVQ R13, newValues+88(FP)
	RET
