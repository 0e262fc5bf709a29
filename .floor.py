import importlib, sys
from dataclasses import replace
t=importlib.import_module('try_') if False else None
exec(open('.try.py').read().split("if __name__")[0])
import onnx_trtcal.qdq.write.quantize_model as qm
orig=qm.place
for name in sys.argv[1].split(','):
    c=cases[name]; model=S/c['model']
    cal=np.load(S/c['calibration'],mmap_mode='r'); test=np.load(S/c['test'],mmap_mode='r')[:200]
    for m in sys.argv[2].split(','):
        k=calibrate(model, cal, Options(method=m,provider='cpu',batch_size=c.get('batch',8)))
        scales={n:s.scale for n,s in k.scales.items()}
        q=QdqOptions()
        base=quantize_model(k.prepared.model, scales, q, k.unseen)
        qm.place=lambda *a: replace(orig(*a), weights=())
        fl=quantize_model(k.prepared.model, scales, q, k.unseen)
        qm.place=lambda *a: replace(orig(*a), activations=(),ties=())
        wo=quantize_model(k.prepared.model, scales, q, k.unseen)
        qm.place=orig
        print(name,m,'both',sqnr(model,base.proto(),test),'act only',sqnr(model,fl.proto(),test),'weights only',sqnr(model,wo.proto(),test),flush=True)
