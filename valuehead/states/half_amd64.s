#include "textflag.h"

DATA low<>+0(SB)/8, $0x00ff00ff00ff00ff
DATA low<>+8(SB)/8, $0x00ff00ff00ff00ff
GLOBL low<>(SB), RODATA|NOPTR, $16

// func splitHalf16(lo, hi *byte, src *float32, blocks int)
TEXT ·splitHalf16(SB), NOSPLIT, $0-32
	MOVQ lo+0(FP), DI
	MOVQ hi+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ blocks+24(FP), CX
	VMOVDQU low<>(SB), X7

split:
	VMOVUPS   (SI), Y0
	VMOVUPS   32(SI), Y1
	VCVTPS2PH $0, Y0, X0 // to nearest, ties to even
	VCVTPS2PH $0, Y1, X1
	VPAND     X7, X0, X2
	VPAND     X7, X1, X3
	VPACKUSWB X3, X2, X2
	VPSRLW    $8, X0, X0
	VPSRLW    $8, X1, X1
	VPACKUSWB X1, X0, X0
	VMOVDQU   X2, (DI)
	VMOVDQU   X0, (DX)
	ADDQ      $64, SI
	ADDQ      $16, DI
	ADDQ      $16, DX
	DECQ      CX
	JNZ       split
	VZEROUPPER
	RET

// func joinHalf16(dst *float32, lo, hi *byte, blocks int)
TEXT ·joinHalf16(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ lo+8(FP), SI
	MOVQ hi+16(FP), DX
	MOVQ blocks+24(FP), CX

join:
	VMOVDQU    (SI), X0
	VMOVDQU    (DX), X1
	VPUNPCKLBW X1, X0, X2
	VPUNPCKHBW X1, X0, X3
	VCVTPH2PS  X2, Y4
	VCVTPH2PS  X3, Y5
	VMOVUPS    Y4, (DI)
	VMOVUPS    Y5, 32(DI)
	ADDQ       $16, SI
	ADDQ       $16, DX
	ADDQ       $64, DI
	DECQ       CX
	JNZ        join
	VZEROUPPER
	RET

// func features() (ecx uint32)
TEXT ·features(SB), NOSPLIT, $0-4
	MOVL $1, AX
	XORL CX, CX
	CPUID
	MOVL CX, ecx+0(FP)
	RET
