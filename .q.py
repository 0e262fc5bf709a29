import sys,time
exec(open('.try.py').read().split("def main")[0])
from onnx_trtcal import quantize
class L(LoggingListener):
    def say(self,t): 
        if 'round' in t: print('  ',t)
for name in sys.argv[1].split(','):
    c=cases[name]; model=S/c['model']; cal=np.load(S/c['calibration'],mmap_mode='r'); test=np.load(S/c['test'],mmap_mode='r')[:int(sys.argv[3]) if len(sys.argv)>3 else 200]
    for m in sys.argv[2].split(','):
        for kw in ({}, {'round':True}):
            t=time.time(); z=time.process_time(); q=quantize(model,cal,Options(method=m,provider='cpu',batch_size=c.get('batch',8)),QdqOptions(**kw),listener=L())
            print(name,m,kw,'%.1fs cpu %.1f'%(time.time()-t,time.process_time()-z),sqnr(model,q.proto(),test),flush=True)
