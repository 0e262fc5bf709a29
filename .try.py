import sys, time, tomllib, numpy as np, pickle
from pathlib import Path
from onnx_trtcal import Options, calibrate, EvaluationOptions, evaluate, QdqOptions
from onnx_trtcal.qdq.write.quantize_model import quantize_model
from onnx_trtcal.improve.rounding import round_model as rm
from onnx_trtcal.run.provider import choose_provider
from onnx_trtcal.search.samples import SampleKeeper, read_again
from onnx_trtcal.data.sources import open_source
from onnx_trtcal.support.progress import LoggingListener
import onnxruntime as ort, onnx
S=Path('/tmp/splits')
cases={c['name']:c for c in tomllib.loads((S/'cases.toml').read_text())['case']}
def sqnr(ref, proto, test, batch=1):
    so=ort.SessionOptions(); so.add_session_config_entry("session.disable_quant_qdq","1"); so.graph_optimization_level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    so.log_severity_level=3
    a=ort.InferenceSession(str(ref)); b=ort.InferenceSession(proto.SerializeToString(),so)
    n=a.get_inputs()[0].name
    N=D=0.0
    nz=None
    for i in range(len(test)):
        x=test[i:i+1]
        ya=a.run(None,{n:x}); yb=b.run(None,{n:x})
        if nz is None: nz=np.zeros(len(ya)); sg=np.zeros(len(ya))
        for k,(p,q) in enumerate(zip(ya,yb)):
            nz[k]+=((p-q).astype(np.float64)**2).sum(); sg[k]+=(p.astype(np.float64)**2).sum()
    return [round(float(v),2) for v in 10*np.log10(sg/nz)]
def main(name, methods, most=96):
    c=cases[name]; model=S/c['model']
    cal=np.load(S/c['calibration'],mmap_mode='r'); test=np.load(S/c['test'],mmap_mode='r')
    test=test[:200]
    for m in methods.split(','):
        o=Options(method=m,provider='cpu',batch_size=c.get('batch',8))
        t=time.time(); k=calibrate(model, cal, o); tc=time.time()-t
        scales={n:s.scale for n,s in k.scales.items()}
        q=QdqOptions()
        base=quantize_model(k.prepared.model, scales, q, k.unseen)
        src=open_source(cal,k.prepared.model.inputs).settled(k.feeding)
        feeds=read_again(src,[h for _,h in k.collection.samples],most)
        t=time.time()
        r=rm.round_weights(k.prepared.whole(),scales,k.unseen,feeds,q,(choose_provider('cpu'),None,()),LoggingListener())
        tr=time.time()-t
        new=quantize_model(k.prepared.model, scales, q, k.unseen, r.given)
        print(name,m,'samples',len(feeds),'cal %.1fs round %.1fs'%(tc,tr),'base',sqnr(model,base.proto(),test),'round',sqnr(model,new.proto(),test), 'held %.2f -> %.2f'%(-10*np.log10(r.before),-10*np.log10(r.after)), r.rounded,r.corrected,r.layers,flush=True)
if __name__=='__main__': main(*sys.argv[1:3], *map(int,sys.argv[3:]))
