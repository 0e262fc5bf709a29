import sys; sys.path.insert(0,'tests'); sys.path.insert(0,'tests/improve/rounding')
import test_round_model as t
from onnx_trtcal.improve.rounding import round_model as rm, chains
orig=chains.Chains.output_errors
def oe(self,s):
    r=orig(self,s); f=orig(self,[i for i in range(len(self.int8.samples)) if i not in s]) ; print('held',r,'fit',f); return r
chains.Chains.output_errors=oe
from onnx_trtcal import *
for seed in range(3):
  for bits in (8,7):
    q=QdqOptions(round=True,weight_bits=bits)
    m=quantize(t.net(seed),t.samples(),t.OPTIONS,q); p=quantize(t.net(seed),t.samples(),t.OPTIONS,QdqOptions(weight_bits=bits))
    u=t.samples(64,9)
    print(seed,bits,m.rounding.rounded,m.rounding.corrected,t.noise(t.net(seed),p,u),t.noise(t.net(seed),m,u))
